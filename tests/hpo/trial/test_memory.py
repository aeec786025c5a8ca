"""What Python's collector passes over, and for how long."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from chemprop_hpo.hpo.trial.memory import spared_meanwhile


class _Ring:
    """Refers to itself, so that only the collector ends it."""

    def __init__(self) -> None:
        self.me = self


def _lost_ring() -> weakref.ref[_Ring]:
    return weakref.ref(_Ring())


@pytest.fixture(autouse=True)
def collecting_by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_there_is_passed_over_until_the_context_ends() -> None:
    before = _lost_ring()
    with spared_meanwhile():
        within = _lost_ring()
        gc.collect()
        assert before() is not None
        assert within() is None
    gc.collect()
    assert before() is None


def test_an_error_ends_it_too() -> None:
    with pytest.raises(RuntimeError), spared_meanwhile():
        raise RuntimeError
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_set_aside_stays_aside() -> None:
    before = _lost_ring()
    gc.freeze()
    with spared_meanwhile():
        pass
    gc.collect()
    assert before() is not None
