"""Changes of trials arrive in order, whatever the database does meanwhile."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy.exc import OperationalError

from chemprop_hpo.hpo.search.writer import StudyWriter


class Scene:
    """A database that can go away, a clock that is set by hand, and what arrived."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fails: Exception | None = None
        self.arrived: list[str] = []
        self.lost: list[int] = []
        self.writer = StudyWriter(self.lost.append, clock=lambda: self.now)

    def put(self, number: int, what: str) -> None:
        def make() -> None:
            if self.fails is not None:
                raise self.fails
            self.arrived.append(what)

        self.writer.put(number, make)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def away() -> Exception:
    driver_error = ConnectionRefusedError("connection refused")
    error = StorageInternalError("an exception was raised")
    error.__cause__ = OperationalError("INSERT", {}, driver_error)
    return error


def full() -> Exception:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as raised:
            database.execute("CREATE TABLE t (x)")
    error = OperationalError("INSERT", {}, raised.value)
    error.__cause__ = raised.value
    return error


def test_a_change_is_made_at_once(scene: Scene) -> None:
    scene.put(1, "first")
    assert scene.arrived == ["first"]
    assert scene.writer.waiting == 0


def test_what_waited_arrives_in_order_when_the_database_is_back(scene: Scene) -> None:
    scene.fails = away()
    for i in range(5):
        scene.put(i % 2, f"{i}")
    assert scene.arrived == []
    assert scene.writer.waiting == 5
    scene.fails, scene.now = None, 100.0
    assert scene.writer.flush()
    assert scene.arrived == ["0", "1", "2", "3", "4"]


def test_a_database_that_is_away_is_not_asked_again_at_once(scene: Scene) -> None:
    asked = []

    def slow() -> None:
        asked.append(scene.now)
        scene.now += 5.0  # as long as a connection takes to time out
        raise away()

    scene.writer.put(1, slow)
    for _ in range(100):
        scene.writer.flush()
        scene.now += 0.1
    assert asked == [0.0]
    scene.now += 15.0
    scene.writer.flush()
    assert len(asked) == 2


def test_outage_and_return_are_told_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scene.fails = away()
        for _ in range(3):
            scene.put(1, "late")
            scene.now += 2.0
        scene.fails = None
        scene.writer.flush()
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(";")[0] for line in said] == [
        "the database is away",
        "the database is back after 6 s",
    ]


def test_a_trial_that_another_driver_took_gets_nothing_more(scene: Scene) -> None:
    scene.fails = away()
    scene.put(1, "of the taken")
    scene.put(2, "of another")
    scene.put(1, "of the taken, later")

    def refused() -> None:
        raise UpdateFinishedTrialError

    scene.fails, scene.now = None, 100.0
    scene.writer._queue[0] = scene.writer._queue[0]._replace(make=refused)
    assert scene.writer.flush()
    assert scene.lost == [1]
    assert scene.arrived == ["of another"]


def test_no_room_is_told_and_nothing_is_dropped(scene: Scene) -> None:
    scene.fails = full()
    scene.put(1, "late")
    assert scene.writer.full is not None
    assert "disk is full" in scene.writer.full
    assert scene.writer.waiting == 1


def test_an_error_of_another_kind_comes_out_and_does_not_block_the_rest(scene: Scene) -> None:
    scene.fails = ValueError("a mistake in the program")
    with pytest.raises(ValueError, match="a mistake"):
        scene.put(1, "wrong")
    scene.fails = None
    scene.put(1, "right")
    assert scene.arrived == ["right"]


def test_nothing_is_asked_of_the_study_while_changes_wait(scene: Scene) -> None:
    scene.fails = away()
    scene.put(1, "late")
    assert not scene.writer.may_ask()
    scene.fails, scene.now = None, 100.0
    assert scene.writer.may_ask()


def test_an_outage_that_a_question_met_is_remembered(scene: Scene) -> None:
    assert scene.writer.excuse(away())
    assert not scene.writer.may_ask()
    scene.now = 2.0
    assert scene.writer.may_ask()
    error: Any = KeyError("no such trial")
    assert not scene.writer.excuse(error)
