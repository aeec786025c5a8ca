"""Changes of trials arrive in order, whatever the database does meanwhile."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy.exc import OperationalError

from chemprop_hpo.hpo.search.writer import GATHER_S, StudyWriter
from chemprop_hpo.storage.news import TrialNews


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


class Reports:
    """A writer of reports, and what was written in each transaction."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fails: Exception | None = None
        self.ended: set[int] = set()
        self.written: list[list[int]] = []
        self.lost: list[int] = []
        self.writer = StudyWriter(self.lost.append, lambda: self.now, self._write)

    def _write(self, news: Sequence[TrialNews]) -> None:
        if self.fails is not None:
            raise self.fails
        if self.ended & {one.trial_id for one in news}:
            raise UpdateFinishedTrialError("it has ended")
        self.written.append([one.trial_id for one in news])

    def report(self, *trials: int) -> None:
        for trial in trials:
            self.writer.report(trial, TrialNews(trial, {1: 0.5}))


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_a_report_is_written_at_once_and_those_right_after_it_together(reports: Reports) -> None:
    reports.report(1, 2, 3)
    assert reports.written == [[1]]
    reports.writer.turn()
    assert reports.written == [[1]]
    reports.now += GATHER_S
    reports.writer.turn()
    assert reports.written == [[1], [2, 3]]


def test_reports_are_written_before_what_follows_them(reports: Reports) -> None:
    reports.report(1, 2, 3)
    reports.writer.put(2, lambda: reports.written.append([-2]))
    assert reports.written == [[1], [2, 3], [-2]]
    assert not reports.writer.waiting


def test_a_trial_that_was_taken_costs_no_other_its_report(reports: Reports) -> None:
    reports.ended = {2}
    reports.report(1, 2, 3, 2, 4)
    assert reports.writer.flush()
    assert reports.written == [[1], [3, 4]]
    assert reports.lost == [2]


def test_reports_wait_together_while_the_database_is_away(reports: Reports) -> None:
    reports.fails = away()
    reports.report(1, 2, 3)
    assert not reports.writer.flush()
    reports.fails, reports.now = None, 60.0
    reports.writer.turn()
    assert reports.written == [[1, 2, 3]]


def test_a_report_that_can_never_be_written_is_raised_and_the_others_arrive(
    reports: Reports,
) -> None:
    reports.report(1, 2, 3)
    reports.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        reports.writer.flush()
    reports.fails = None
    assert reports.writer.flush()
    assert reports.written == [[1], [3]]
