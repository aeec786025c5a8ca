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


def _is_set_aside() -> bool:
    return gc.get_freeze_count() > 10_000  # Python itself sets some hundred aside


@pytest.fixture(autouse=True)
def collecting_by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_there_is_passed_over_until_the_context_ends() -> None:
    before = _Ring()
    seen = weakref.ref(before)
    with spared_meanwhile():
        del before
        within = _lost_ring()
        gc.collect()
        assert seen() is not None
        assert within() is None
    gc.collect()
    assert seen() is None


def test_what_nobody_refers_to_before_is_not_kept() -> None:
    lost = _lost_ring()
    with spared_meanwhile():
        assert lost() is None


def test_an_error_ends_it_too() -> None:
    with pytest.raises(RuntimeError), spared_meanwhile():
        raise RuntimeError
    assert not _is_set_aside()


def test_what_somebody_else_set_aside_stays_aside() -> None:
    before = _lost_ring()
    gc.freeze()
    with spared_meanwhile():
        pass
    gc.collect()
    assert before() is not None
