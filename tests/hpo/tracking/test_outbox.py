"""What a receiver that is slow, away or in trouble does to those who wait for it."""

from __future__ import annotations

import logging
import time

import pytest

from chemprop_hpo.hpo.tracking import outbox
from chemprop_hpo.hpo.tracking.outbox import Outbox


def is_away(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


def test_a_call_that_asks_for_much_is_no_stalled_one() -> None:
    box = Outbox("MLflow", is_away)
    done: list[str] = []

    def much() -> None:
        for _ in range(12):
            time.sleep(0.05)
            box.note_progress()
        done.append("much")

    box.put(much)
    box.put(lambda: done.append("end"))
    assert box.close(stalled_s=0.2) == 0
    assert done == ["much", "end"]


def test_a_call_that_stands_still_is_given_up() -> None:
    box = Outbox("MLflow", is_away)
    done: list[str] = []
    box.put(lambda: time.sleep(3))
    box.put(lambda: done.append("end"))
    began = time.monotonic()
    assert box.close(stalled_s=0.2) == 2
    assert time.monotonic() - began < 2
    assert not done


@pytest.mark.parametrize("answers", [True, False])
def test_a_call_that_always_fails_gives_way_where_the_receiver_answers_otherwise(
    answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox("MLflow", is_away, answers=lambda: answers, retry_every_s=0.01)
    tries: list[int] = []
    done: list[str] = []

    def broken() -> None:
        tries.append(1)
        raise ConnectionError("500")

    with caplog.at_level(logging.WARNING):
        box.put(broken)
        box.put(lambda: done.append("next"))
        deadline = time.monotonic() + 10
        while len(tries) < 3 * outbox.TRIES and not done and time.monotonic() < deadline:
            time.sleep(0.01)
        assert box.close() == (1 if answers else 2)
    assert done == (["next"] if answers else [])
    assert ("goes on without it" in caplog.text) == answers
