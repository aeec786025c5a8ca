"""Members are trained over a real Ray, each once, whatever becomes of workers and drivers."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from chemprop_hpo.configs.errors import SweepFailedError, UsageError
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.ensembles.members import training
from chemprop_hpo.hpo.trial.cluster import connected
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.members import MemberRecord
from tests.hpo import scripted
from tests.hpo.drivers import Driver
from tests.hpo.made_members import (
    DIARY,
    KILLED_ONCE,
    LONG,
    REAL,
    Diary,
    Members,
    config_of,
    mixed_train,
    read_diary,
    slow_config,
)

SCRIPTS = [KILLED_ONCE, REAL, scripted.NAN_LATER, scripted.EARLY, scripted.FAILS_FIRST]
EPOCHS = 5


@dataclass
class Trained:
    """Members of all scripts after their training over one Ray."""

    members: Members
    records: list[MemberRecord]
    diary: Diary

    def of(self, script: int) -> list[MemberRecord]:
        return [r for r in self.records if r.key.trial == SCRIPTS.index(script)]

    def again(self, **options: bool) -> list[MemberRecord]:
        with open_database(self.members.config.study.storage) as db:
            return self.members.train(db, train=mixed_train, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("members")
    os.environ[DIARY] = str(folder / "diary")  # workers inherit it
    try:
        with connected(None):
            members = Members(folder, config_of(folder, max_epochs=EPOCHS), SCRIPTS)
            diary = Diary()
            with open_database(members.config.study.storage) as db:
                records = members.train(db, train=mixed_train, observers=[diary])
            yield Trained(members, records, diary)
    finally:
        del os.environ[DIARY]


def test_a_member_is_the_model_that_a_training_by_itself_gives(trained: Trained) -> None:
    members, record = trained.members, trained.of(REAL)[1]
    config = members.config
    tables = read_folds(config, fold_list(config))[0, 1]
    job = next(job for job in members.jobs if job.key == record.key)
    fold = featurise_fold(tables, config, ["V2"], [])
    best = members.folder / "best.pt"
    last = train(job.spec, fold, lambda report, training: training.save_best(best) or True)
    ours = config.study_folder / record.folder / "best.pt"
    expected, found = (torch.load(p, weights_only=False)["state_dict"] for p in (best, ours))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert (record.value, record.best_epoch) == (last.best, last.best_epoch)
    assert record.metrics == pytest.approx(last.final)
    assert len(record.curve) == record.epoch == EPOCHS
    assert min(v for v in record.curve if v is not None) == record.value


def test_a_member_whose_worker_is_killed_goes_on_on_another(trained: Trained) -> None:
    for record in trained.of(KILLED_ONCE):
        assert (record.state, record.stop_reason, record.epoch) == ("complete", "max_t", EPOCHS)
    seeds = Counter(r.seed for r in trained.of(KILLED_ONCE))
    again = [(seed, n) for seed, n in epochs(trained.members.folder) if seed in seeds]
    assert max(Counter(again).values()) <= 2  # nothing but the epoch in which it died


def test_a_member_that_fails_says_why_and_stops_no_other(trained: Trained) -> None:
    assert [r.state for r in trained.records] == ["complete"] * 4 + ["failed"] * 2 + [
        "complete"
    ] * 2 + ["failed"] * 2
    assert {r.stop_reason for r in trained.of(scripted.NAN_LATER)} == {"nan"}
    assert {(r.stop_reason, r.epoch) for r in trained.of(scripted.EARLY)} == {("early_stopping", 4)}
    failed = trained.of(scripted.FAILS_FIRST)[0]
    assert failed.stop_reason == "error"
    assert "RuntimeError: the script says so" in (failed.error or "")
    assert (failed.epoch, failed.value) == (0, None)


def test_complete_members_keep_their_best_weights_and_nothing_else(trained: Trained) -> None:
    home = trained.members.config.study_folder
    for record in trained.records:
        if record.state == "complete":
            names = {path.name for path in (home / record.folder).iterdir()}
            assert names == {"best.pt", "origin.json"}


def test_observers_are_told_of_each_member_and_of_all(trained: Trained) -> None:
    (begun,) = trained.diary.named("MembersStarted")
    assert (begun.tally.total, begun.tally.ended) == (10, 0)
    assert begun.concurrency == min(2, os.cpu_count() or 1)
    ended = trained.diary.named("MemberEnded")
    assert [event.tally.ended for event in ended] == list(range(1, 11))
    assert trained.diary.named("MembersEnded")[0].tally.failed == 4
    assert trained.diary.ticks > 0


def test_a_second_call_trains_nothing_and_starts_no_ray(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(training, "connected")
    (trained.members.config.study_folder / trained.records[0].folder / "epoch_00004.ckpt").touch()
    assert trained.again() == trained.records
    test_complete_members_keep_their_best_weights_and_nothing_else(trained)


def test_a_member_whose_weights_are_gone_is_trained_anew(trained: Trained) -> None:
    lost = trained.of(scripted.EARLY)[0]
    best = trained.members.config.study_folder / lost.folder / "best.pt"
    best.unlink()
    before = epochs(trained.members.folder)
    records = trained.again()
    assert best.exists()
    assert [r.state for r in records] == [r.state for r in trained.records]
    trained_now = epochs(trained.members.folder)[len(before) :]
    assert trained_now == [(lost.seed, epoch) for epoch in range(1, 5)]


def test_where_all_weights_are_gone_nothing_is_forgotten(trained: Trained) -> None:
    """It is the folder that is away, as a mount may be, and comes back."""
    before = trained.again()
    home = trained.members.config.study_folder
    home.rename(home.with_name("away"))
    try:
        with pytest.raises(UsageError, match=r"models that were trained is there; .*study.folder"):
            trained.again()
        assert not home.exists()
    finally:
        home.with_name("away").rename(home)
    assert trained.again() == before


def test_models_that_another_machine_keeps_for_itself_are_missed(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both trained into folders of one name, on disks of their own."""
    lost, other = trained.of(scripted.EARLY)
    home = trained.members.config.study_folder
    before = (home / other.folder / "best.pt").read_bytes()
    (home / lost.folder / "best.pt").unlink()  # so that there is something to train

    def and_one_vanishes(*_: Any) -> None:
        real_train(*_)
        (home / other.folder / "best.pt").unlink()

    real_train = training._train
    monkeypatch.setattr(training, "_train", and_one_vanishes)
    text = rf"1 of 6 models are not there, the first {other.folder}/best.pt; .*study.folder=PATH"
    with pytest.raises(SweepFailedError, match=text):
        trained.again()
    (home / other.folder / "best.pt").write_bytes(before)


def epochs(folder: Path) -> list[tuple[int, int]]:
    """Return seed and epoch of all that was trained, in order."""
    return [(seed, epoch) for _, seed, epoch in read_diary(folder)]


# ------------------------------------------------------------------ drivers that come and go


@contextlib.contextmanager
def driver(folder: Path, pace_s: float) -> Iterator[Driver]:
    os.environ[DIARY] = str(folder / "diary")
    (folder / "pace").write_text(str(pace_s))
    process = Driver(folder, "-m", "tests.hpo.made_members", str(folder))
    try:
        yield process
    finally:
        process.end()


def in_flight(folder: Path) -> list[tuple[int, str, int]]:
    """Return seed, driver and epoch of members in flight."""
    query = "SELECT seed, driver_id, epoch FROM chemprop_hpo_members WHERE state = 'running'"
    with contextlib.closing(sqlite3.connect(folder / "studies.db", timeout=30)) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def live_in_flight(folder: Path, killed: Iterable[tuple[int, str, int]] = ()) -> int:
    """Return how many members have trained three epochs or more, killed drivers' left out."""
    dead = {by for _, by, _ in killed}
    return sum(by not in dead and epoch > 2 for _, by, epoch in in_flight(folder))


@pytest.mark.timeout(900)
def test_drivers_that_are_killed_stopped_and_share_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    with driver(tmp_path, 0.5) as first:
        first.wait_for(lambda: live_in_flight(tmp_path))
        first.signal(signal.SIGKILL)
    killed = in_flight(tmp_path)
    with driver(tmp_path, 3.0) as second:
        second.wait_for(lambda: live_in_flight(tmp_path, killed) == 1)
        with driver(tmp_path, 3.0) as third:
            third.wait_for(lambda: live_in_flight(tmp_path, killed) == 2)
            second.signal(signal.SIGINT)
            code, said = second.ended(60)
            (tmp_path / "pace").write_text("0")
            assert code == 130, said
            assert "finished members are kept; the same command goes on" in said
            assert third.ended(240)[0] == 0
    records = Members(tmp_path, slow_config(tmp_path)).now()
    assert {(r.state, r.epoch, len(r.curve)) for r in records} == {("complete", LONG, LONG)}
    counted = Counter(epochs(tmp_path))
    assert set(counted) == {(r.seed, n) for r in records for n in range(1, LONG + 1)}
    # A kill costs the epoch that was under way; a signal costs nothing.
    twice = [(seed, n) for (seed, n), times in counted.items() if times > 1]
    assert {seed for seed, _ in twice} <= {seed for seed, _, _ in killed}
    assert sum(counted.values()) <= len(counted) + len(killed)
