"""A database that goes away, is locked or is full, under a sweep through the real Ray."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event

from chemprop_hpo.configs.errors import DiskFullError, SweepFailedError
from chemprop_hpo.hpo.events import EpochEnded
from chemprop_hpo.hpo.sweep import resume_sweep, start_sweep
from chemprop_hpo.hpo.trial.cluster import connected
from chemprop_hpo.storage import drivers
from chemprop_hpo.storage.database import open_database
from tests.hpo import scripted
from tests.hpo.scripted import Recorder, sweep_of
from tests.postgres import OwnServer, own_postgres

LONG = {"max_t": 60, "grace_period": 60}
LONGER = {"max_t": 900, "grace_period": 900}


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with connected(None):
        yield
    assert not ray.is_initialized()


@pytest.fixture
def server() -> Iterator[OwnServer]:
    with own_postgres() as server:
        yield server
        server.start()


class At(Recorder):
    """Does something when a trial reports an epoch: once each."""

    def __init__(self, what: dict[int, Callable[[], object]]) -> None:
        super().__init__()
        self._what = dict(what)

    def epoch_ended(self, event: EpochEnded) -> None:
        super().epoch_ended(event)
        if what := self._what.pop(event.epoch, None):
            what()


def trials_in(url: str) -> list[FrozenTrial]:
    with open_database(url) as db:
        return optuna.load_study(study_name="scripted", storage=db.storage).trials


def run(
    folder: Path,
    url: str,
    observer: Any,
    scripts: list[int],
    scheduler: dict[str, int] | None = None,
    **study: Any,
) -> None:
    given = {"name": "scripted", "storage": url, "folder": str(folder / "study"), **study}
    loaded = sweep_of(folder, scripts, study=given, scheduler=scheduler or LONG)
    start_sweep(loaded, observers=(observer,), train=scripted.scripted_train)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_training_goes_on_while_the_server_is_gone_and_nothing_is_lost(
    tmp_path: Path, server: OwnServer, how: signal.Signals
) -> None:
    observer = At({5: lambda: server.stop(how), 40: server.start})
    run(tmp_path, server.url, observer, [scripted.ENDLESS, scripted.GOOD])
    long, after = trials_in(server.url)
    assert [long.state.name, after.state.name] == ["COMPLETE", "COMPLETE"]
    assert sorted(long.intermediate_values) == list(range(1, 61))
    told = [e.epoch for e in observer.events if isinstance(e, EpochEnded) and e.number == 0]
    assert told == list(range(1, 61))


def test_a_trial_that_ends_while_the_server_is_gone_has_ended(
    tmp_path: Path, server: OwnServer
) -> None:
    class StartsAfterTheEnd(At):
        def trial_ended(self, event: Any) -> None:
            super().trial_ended(event)
            server.start()

    run(tmp_path, server.url, StartsAfterTheEnd({50: server.stop}), [scripted.ENDLESS])
    (trial,) = trials_in(server.url)
    assert trial.state.name == "COMPLETE"
    assert trial.user_attrs["stop_reason"] == "max_t"
    assert trial.user_attrs["metrics"] != {}


def test_a_server_gone_for_too_long_ends_the_sweep_and_resume_takes_it_up(
    tmp_path: Path, server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [scripted.ENDLESS] * 2
    with pytest.raises(SweepFailedError, match="chemprop-hpo resume --study scripted") as failed:
        run(tmp_path, server.url, At({5: server.stop}), scripts, LONGER, outage_limit_s=1)
    assert failed.value.exit_code == 1
    server.start()
    (running,) = trials_in(server.url)
    assert running.state.name == "RUNNING"
    # The first driver could not say that it left, and its process, which is the test's, lives.
    monkeypatch.setattr(drivers, "DEAD_AFTER_S", 11.0)
    shorter = ["scheduler.max_t=60", "scheduler.grace_period=60"]
    resume_sweep("scripted", server.url, overrides=shorter, train=scripted.scripted_train)
    orphan, *others = trials_in(server.url)
    assert [t.state.name for t in others] == ["COMPLETE", "COMPLETE"]
    (continuation,) = (t for t in others if t.user_attrs.get("continues") == orphan.number)
    known = set(orphan.intermediate_values) | set(continuation.intermediate_values)
    assert known == set(range(1, max(known) + 1))  # also those that the study was never told of


def test_a_file_locked_by_another_program_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "studies.db"
    other: list[sqlite3.Connection] = []

    def lock() -> None:
        other.append(sqlite3.connect(path, check_same_thread=False))
        other[0].execute("BEGIN EXCLUSIVE")
        # The sweep's next write waits for the lock, so it is let go from another thread.
        threading.Timer(20.0, other[0].close).start()

    run(tmp_path, f"sqlite:///{path}", At({5: lock}), [scripted.ENDLESS])
    (trial,) = trials_in(f"sqlite:///{path}")
    assert trial.state.name == "COMPLETE"
    assert sorted(trial.intermediate_values) == list(range(1, 61))


def test_a_full_disk_under_the_database_stops_the_sweep_and_leaves_the_study_intact(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    limit: list[int] = []

    def limited(connection: Any, *_: Any) -> None:
        if limit:
            connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    def fill() -> None:
        with closing(sqlite3.connect(tmp_path / "studies.db")) as database:
            (pages,) = database.execute("PRAGMA page_count").fetchone()
        limit.append(pages)

    event.listen(Engine, "checkout", limited)
    try:
        with pytest.raises(DiskFullError, match="full"):
            run(tmp_path, url, At({5: fill}), [scripted.ENDLESS], LONGER)
    finally:
        event.remove(Engine, "checkout", limited)
    with closing(sqlite3.connect(tmp_path / "studies.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    limit.clear()
    shorter = ["scheduler.max_t=60", "scheduler.grace_period=60"]
    resume_sweep("scripted", url, overrides=shorter, train=scripted.scripted_train)
    assert [t.state.name for t in trials_in(url)] == ["FAIL", "COMPLETE"]
