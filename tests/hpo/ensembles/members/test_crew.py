"""A driver's time with members, whose workers are stand-ins: what is written, and when it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from chemprop_hpo.configs.errors import DiskFullError, SweepFailedError
from chemprop_hpo.hpo.ensembles.members import book, crew
from chemprop_hpo.hpo.ensembles.members.assignment import Assignment, TrainingInterruptedError
from chemprop_hpo.hpo.ensembles.members.crew import Crew
from chemprop_hpo.hpo.ensembles.members.events import MemberAudience
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.ensembles.members.pool import Death
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.interrupts import RayIsGone
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.members import (
    MemberRecord,
    add_members,
    claim_member,
    end_member,
    read_members,
)
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_or_create_study
from tests.conformance.made import RECORD, silence
from tests.hpo.made_members import Diary, Members, config_of

EPOCHS = 4
Said = TrialReport | Death


def report(epoch: int, stop_reason: str | None = None, **more: Any) -> TrialReport:
    """Return the report of an epoch; the second is the best."""
    value = 0.5 if epoch == 2 else 1.0
    best, best_epoch = (value, epoch) if epoch <= 2 else (0.5, 2)
    if epoch == EPOCHS:
        stop_reason = "max_t"
    fields = {"value": value, "best": best, "best_epoch": best_epoch, "stop_reason": stop_reason}
    return TrialReport(epoch=epoch, best_metrics={"val_loss": best}, **fields | more)


class StandIns:
    """Workers that do as they are told, an epoch at each look.

    Parameters
    ----------
    says : callable
        Gets trial, fold, and the epoch that is due; returns what the worker says.
    """

    size = 2

    def __init__(self, says: Callable[[int, int, int], Said]) -> None:
        self.says = says
        self.jobs: dict[int, MemberJob] = {}
        self.due: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.begun: list[tuple[int, int, int]] = []
        self.dropped: list[int] = []
        self.rested_beside: list[int] = []

    def has_room(self) -> bool:
        return len(self.jobs) < self.size

    def begin(self, member_id: int, job: MemberJob, reached: int) -> None:
        assert self.has_room()
        self.begun.append((job.key.trial, job.key.fold, reached))
        self.jobs[member_id], self.due[member_id] = job, reached + 1

    def go_on(self, member_id: int) -> None:
        self.due[member_id] = self.last[member_id] + 1

    def end(self, member_id: int) -> None:
        del self.jobs[member_id]

    def rest(self) -> None:
        self.rested_beside.append(len(self.jobs))

    def drop(self, member_id: int) -> None:
        self.dropped.append(member_id)
        self.jobs.pop(member_id, None)
        self.due.pop(member_id, None)

    def arrived(self, timeout_s: float) -> list[tuple[int, Said]]:
        due, self.due = self.due, {}
        said = {id: self._said(self.jobs[id], epoch) for id, epoch in due.items()}
        for member_id, what in said.items():
            if isinstance(what, Death):
                del self.jobs[member_id]
            else:
                self.last[member_id] = what.epoch
        return list(said.items())

    def stopped(self, within_s: float) -> Iterator[tuple[int, Said]]:
        yield from self.arrived(0)

    def close(self) -> None:
        self.jobs = {}

    def _said(self, job: MemberJob, epoch: int) -> Said:
        return self.says(job.key.trial, job.key.fold, epoch)


class Calm:
    """What `Interrupts` tells while nothing happens; tests change it."""

    received: int | None = None
    ray_is_gone = False
    in_order = False

    def in_ray(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.suppress(RayIsGone)

    def trials_are_in_order(self) -> None:
        self.in_order = True


class Beats:
    """A pulse that is well; tests change it."""

    deleted = False
    silent = 0.0

    def silent_s(self) -> float:
        return self.silent


class Scene:
    """Four members in a database, a driver, and stand-ins for all that has processes."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.members = Members(folder, config_of(folder, max_epochs=EPOCHS))
        self.db = db
        self.study, _ = open_or_create_study(db, "made", RECORD)
        self.entries = [job.entry for job in self.members.jobs]
        add_members(db, self.study, self.entries)
        self.driver = Driver.register(db, self.study)
        self.interrupts, self.pulse, self.diary = Calm(), Beats(), Diary()

    def train(self, says: Callable[[int, int, int], Said]) -> StandIns:
        pool, jobs = StandIns(says), self.members.jobs
        home = self.members.config.study_folder
        work = Assignment(self.db, self.study, self.members.config, home, jobs, "go on so")
        audience = MemberAudience([self.diary])
        parts: tuple[Any, ...] = (self.driver, self.pulse, pool, audience, self.interrupts)
        Crew(work, *parts).train()
        return pool

    def now(self) -> list[MemberRecord]:
        return read_members(self.db, self.study, [entry.key for entry in self.entries])

    def states(self) -> list[str]:
        return [record.state for record in self.now()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_database(f"sqlite:///{tmp_path}/studies.db") as db:
        yield Scene(tmp_path, db)


def plain(trial: int, fold: int, epoch: int) -> Said:
    return report(epoch)


def test_all_members_are_trained_and_their_curves_kept(scene: Scene) -> None:
    scene.train(plain)
    for record in scene.now():
        assert (record.state, record.stop_reason, record.epoch) == ("complete", "max_t", EPOCHS)
        assert record.curve == (1.0, 0.5, 1.0, 1.0)
        assert (record.value, record.best_epoch, record.metrics) == (0.5, 2, {"val_loss": 0.5})
    tallies = [(e.tally.ended, e.tally.total) for e in scene.diary.named("MemberEnded")]
    assert tallies == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert scene.diary.named("MembersEnded")[0].reason == "finished"


def test_what_went_wrong_is_kept_and_the_others_go_on(scene: Scene) -> None:
    def says(trial: int, fold: int, epoch: int) -> Said:
        if (trial, epoch) == (0, 3):
            reason = "nan" if fold else "oom"
            return TrialReport(stop_reason=reason, error=f"{reason}: no more")
        return report(epoch)

    scene.train(says)
    first, second, *others = scene.now()
    assert [(r.state, r.stop_reason, r.error) for r in (first, second)] == [
        ("failed", "oom", "oom: no more"),
        ("failed", "nan", "nan: no more"),
    ]
    assert (first.epoch, first.value, first.curve) == (2, 0.5, (1.0, 0.5))
    assert [record.state for record in others] == ["complete"] * 2


def test_a_member_whose_workers_die_is_tried_thrice_and_given_up(scene: Scene) -> None:
    deaths = {0: 0, 1: 0}

    def says(trial: int, fold: int, epoch: int) -> Said:
        # One dies for good at its second epoch, the other now and then.
        if trial == 0 and epoch == 2 and (fold == 0 or deaths[1] < 3):
            deaths[fold] += 1
            return Death("killed by signal 9", False)
        return report(epoch)

    pool = scene.train(says)
    first, second, *_ = scene.now()
    assert (first.state, first.stop_reason) == ("failed", "error")
    assert "died 4 times without a new epoch: killed by signal 9" in (first.error or "")
    assert (second.state, second.retries) == ("complete", 0)
    assert pool.begun.count((0, 0, 1)) == 3


def test_an_epoch_trained_again_after_a_death_is_written_once(scene: Scene) -> None:
    alive = []

    def says(trial: int, fold: int, epoch: int) -> Said:
        if (trial, fold, epoch) == (0, 0, 3) and not alive:
            alive.append(True)
            return Death("gone", False)
        if alive == [True] and (trial, fold) == (0, 0):
            alive.append(True)
            return report(1)  # its checkpoint was older than what is known
        return report(epoch)

    scene.train(says)
    assert scene.now()[0].curve == (1.0, 0.5, 1.0, 1.0)
    told = [e.epoch for e in scene.diary.named("MemberEpoch") if (e.trial, e.fold) == (0, 0)]
    assert told == [1, 2, 1, 2, 3, 4]


def test_a_checkpoint_ahead_of_the_database_leaves_a_gap_in_the_curve(scene: Scene) -> None:
    def says(trial: int, fold: int, epoch: int) -> Said:
        return report(3) if epoch == 1 else report(epoch)

    scene.train(says)
    assert scene.now()[0].curve == (None, None, 1.0, 1.0)


def test_training_goes_on_while_the_database_is_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, attempts = book.write_epoch, []

    def away(*args: Any, **values: Any) -> None:
        attempts.append(values["epoch"])
        if len(attempts) <= 3:
            raise OperationalError("", {}, Exception("no connection"))
        write(*args, **values)

    monkeypatch.setattr(book, "write_epoch", away)
    monkeypatch.setattr("chemprop_hpo.hpo.search.writer.SHORTEST_PAUSE_S", 0.01)
    scene.train(plain)
    assert scene.states() == ["complete"] * 4
    assert {record.curve for record in scene.now()} == {(1.0, 0.5, 1.0, 1.0)}


def test_a_signal_lets_members_in_flight_wait(scene: Scene) -> None:
    def says(trial: int, fold: int, epoch: int) -> Said:
        if (trial, fold, epoch) == (1, 0, 2):
            scene.interrupts.received = 15
        return report(epoch)

    with pytest.raises(TrainingInterruptedError, match="go on so") as caught:
        scene.train(says)
    assert caught.value.exit_code == 143
    assert scene.interrupts.in_order
    assert scene.states() == ["complete", "complete", "waiting", "waiting"]
    assert [record.epoch for record in scene.now()[2:]] == [3, 3]  # what was under way counts
    assert scene.diary.named("MembersEnded")[0].reason == "interrupted"
    scene.interrupts.received = None
    pool = scene.train(plain)
    assert pool.begun == [(1, 0, 3), (1, 1, 3)]
    assert scene.states() == ["complete"] * 4
    assert {record.retries for record in scene.now()} == {0}


def test_a_cluster_that_is_gone_leaves_nothing_claimed(scene: Scene) -> None:
    def says(trial: int, fold: int, epoch: int) -> Said:
        scene.interrupts.ray_is_gone = epoch == 2
        return report(epoch)

    with pytest.raises(SweepFailedError, match="the Ray cluster went away; go on so"):
        scene.train(says)
    assert scene.states() == ["waiting"] * 4


def test_a_folder_that_cannot_be_written_ends_all(scene: Scene) -> None:
    def says(trial: int, fold: int, epoch: int) -> Said:
        full = TrialReport(stop_reason="unwritable", error="No space left on device")
        return full if (fold, epoch) == (1, 2) else report(epoch)

    with pytest.raises(DiskFullError, match="No space left on device"):
        scene.train(says)
    assert scene.states() == ["waiting"] * 4


@pytest.mark.parametrize(
    ("change", "said"),
    [({"silent": 1e4}, "studies.db is away; go on so"), ({"deleted": True}, "was deleted")],
)
def test_a_study_that_is_gone_ends_all(scene: Scene, change: dict[str, Any], said: str) -> None:
    vars(scene.pulse).update(change)
    with pytest.raises(SweepFailedError, match=said):
        scene.train(plain)


@pytest.mark.parametrize("epoch_taken", [2, EPOCHS])
@pytest.mark.parametrize("is_away", [False, True])
def test_what_another_driver_took_is_dropped_here_and_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, epoch_taken: int, is_away: bool
) -> None:
    monkeypatch.setattr(crew, "ASK_AGAIN_S", 0.01)
    monkeypatch.setattr("chemprop_hpo.hpo.search.writer.SHORTEST_PAUSE_S", 0.01)
    other: list[Driver] = []
    outage: list[bool] = []
    write = book.write_epoch

    def once_away(*args: Any, **values: Any) -> None:
        if other and outage and outage.pop():
            raise OperationalError("", {}, Exception("no connection"))
        write(*args, **values)

    def says(trial: int, fold: int, epoch: int) -> Said:
        if (trial, fold, epoch) == (0, 0, epoch_taken):
            silence(scene.db, scene.driver)  # this machine slept
            other.append(Driver.register(scene.db, scene.study))
            keys = [scene.entries[0].key]
            assert claim_member(scene.db, scene.study, other[0].id, keys) is not None
            scene.driver.beat()
            outage.append(is_away)
        return report(epoch)

    looks: list[int] = []
    read = Assignment.read

    def then(work: Assignment) -> list[MemberRecord]:
        looks.append(1)
        if len(looks) == 4:
            _end_elsewhere(scene, other[0])
        return read(work)

    monkeypatch.setattr(book, "write_epoch", once_away)
    monkeypatch.setattr(Assignment, "read", then)
    scene.train(says)
    assert scene.states() == ["complete"] * 4
    assert [record.driver_id for record in scene.now()] == [other[0].id, *[scene.driver.id] * 3]
    assert len(looks) >= 4


def _end_elsewhere(scene: Scene, other: Driver) -> None:
    end: dict[str, Any] = {"stop_reason": "max_t", "metrics": {}}
    end_member(scene.db, scene.now()[0].id, other.id, "complete", **end)
