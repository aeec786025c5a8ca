"""Train the members of an ensemble over Ray; killed at any moment, the next call goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chemprop_hpo.configs.errors import ChempropHpoError, DiskFullError, SweepFailedError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.molecule_set import MoleculeSet
from chemprop_hpo.hpo.chemistry.training import train
from chemprop_hpo.hpo.ensembles.book import MemberBook, MemberFlight
from chemprop_hpo.hpo.ensembles.events import (
    MemberAudience,
    MemberObserver,
    MembersEnded,
    MembersStarted,
)
from chemprop_hpo.hpo.ensembles.jobs import MemberJob
from chemprop_hpo.hpo.ensembles.pool import Death, Pool
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.cluster import connected, nodes, require_shared_folder
from chemprop_hpo.hpo.trial.interrupts import Interrupts, RayIsGone
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.members import (
    MemberKey,
    MemberRecord,
    add_members,
    claim_member,
    read_members,
    restart_member,
)
from chemprop_hpo.storage.outages import is_full, is_outage
from chemprop_hpo.storage.ownership import BEAT_EVERY_S, Driver
from chemprop_hpo.storage.pulse import Pulse
from chemprop_hpo.storage.studies import Study

__all__ = ["GO_ON", "TrainingInterruptedError", "train_members"]

log = logging.getLogger(__name__)

GO_ON = "finished members are kept; the same command goes on"

ENDED = frozenset({"complete", "failed"})
LOOK_EVERY_S = 0.2
ASK_AGAIN_S = 2.0
STOP_WITHIN_S = 6.0


class TrainingInterruptedError(SweepFailedError):
    """A signal ended the training of members; all of them can be gone on with.

    Parameters
    ----------
    number : int
        The signal; the exit code is 128 more.
    how_to_go_on : str
        What to tell a person.
    """

    def __init__(self, number: int, how_to_go_on: str) -> None:
        self.signal = number
        self.exit_code = 128 + number
        super().__init__(f"interrupted; {how_to_go_on}")


def train_members(
    db: Database,
    study: Study,
    config: SweepConfig,
    folder: Path,
    jobs: Sequence[MemberJob],
    molecules: MoleculeSet,
    observers: Sequence[MemberObserver] = (),
    *,
    how_to_go_on: str = GO_ON,
    retry_failed: bool = False,
    train: Train = train,
) -> list[MemberRecord]:
    """Train members, each to its end; those that ended before are left as they are.

    Several drivers may do so at once: each member is trained by one of them, and each returns
    when all members have ended. A complete member's folder holds ``best.pt``; one whose file is
    gone is trained anew.

    Parameters
    ----------
    db, study : Database, optuna.Study
        Where the members' state is kept.
    config : SweepConfig
        Says what one training takes and where Ray is.
    folder : Path
        The study's, absolute; members' folders are below it.
    jobs : sequence of MemberJob
        The first ones are trained first.
    molecules : MoleculeSet
        Of all folds.
    observers : sequence of MemberObserver
        Told what happens.
    how_to_go_on : str
        What a person is told where this ends early.
    retry_failed : bool
        Train members that failed before once more.
    train : callable
        Trains one model, with the signature of `chemprop_hpo.hpo.chemistry.training.train`.

    Returns
    -------
    list of MemberRecord
        In the order of ``jobs``; each is ``complete`` or ``failed``.

    Raises
    ------
    TrainingInterruptedError
        If a signal came.
    ResourceError
        If one training does not fit onto any node.
    DiskFullError
        If there is no room left for checkpoints or for the database.
    SweepFailedError
        If Ray or the database went away; what was finished is kept.
    """
    records = _known(db, study, folder, jobs, retry_failed)
    if all(record.state in ENDED for record in records):
        _tidy(folder, records)
        return records
    folder.mkdir(parents=True, exist_ok=True)
    work = _Work(db, study, config, folder, jobs, how_to_go_on)
    with connected(config.ray.address), Interrupts(how_to_go_on, what="training") as interrupts:
        require_shared_folder(folder)
        work.do(molecules, MemberAudience(observers), interrupts, train)
    records = read_members(db, study, [job.key for job in jobs])
    _tidy(folder, records)
    return records


def _known(
    db: Database, study: Study, folder: Path, jobs: Sequence[MemberJob], retry_failed: bool
) -> list[MemberRecord]:
    """Add the members, and have those trained again that must be."""
    records = add_members(db, study, [job.entry for job in jobs])
    lost = [r for r in records if r.state == "complete" and not _best_of(folder, r).exists()]
    failed = [r for r in records if r.state == "failed" and retry_failed]
    for record in lost:
        log.warning("%s is gone; its member is trained anew", _best_of(folder, record))
        restart_member(db, record, anew=True)
    for record in failed:
        restart_member(db, record, anew=False)
    return read_members(db, study, [job.key for job in jobs]) if lost or failed else records


def _best_of(folder: Path, record: MemberRecord) -> Path:
    return TrialFolder(folder / record.folder).best_model


def _tidy(folder: Path, records: Sequence[MemberRecord]) -> None:
    """Remove checkpoints that a driver which was killed has left."""
    for record in records:
        if record.state == "complete":
            TrialFolder(folder / record.folder).drop_checkpoints()


@dataclass(frozen=True)
class _Work:
    """One driver's time with members, and what can go wrong with it."""

    db: Database
    study: Study
    config: SweepConfig
    folder: Path
    jobs: Sequence[MemberJob]
    how_to_go_on: str

    def do(
        self,
        molecules: MoleculeSet,
        audience: MemberAudience,
        interrupts: Interrupts,
        train: Train,
    ) -> None:
        """Train until all members have ended."""
        try:
            placement = place(self.config.resources, nodes())
            for line in placement.lines:
                log.info(line)
            size = min(placement.concurrency, len(self.jobs))
            pool = Pool(self.config, self.folder, molecules, train, size)
            self._with_driver(pool, audience, interrupts, size)
        except Exception as error:
            failure = self._failure_of(error)
            if interrupts.received is not None:
                failure.exit_code = 128 + interrupts.received
            raise failure from (None if failure is not error else error.__cause__)

    def _with_driver(
        self, pool: Pool, audience: MemberAudience, interrupts: Interrupts, size: int
    ) -> None:
        driver = Driver.register(self.db, self.study)
        try:
            with Pulse(driver, self.study) as pulse:
                _Crew(self, driver, pulse, pool, audience, interrupts, size).train()
        finally:
            with _unless_away():
                driver.leave()

    def read(self) -> list[MemberRecord]:
        """Return all members as they stand."""
        return read_members(self.db, self.study, [job.key for job in self.jobs])

    # ------------------------------------------------------------------ what can go wrong

    def no_room(self, why: str) -> DiskFullError:
        """Return the error of a place that cannot be written to."""
        return DiskFullError(f"{why}; put that right; {self.how_to_go_on}")

    def failed(self, why: str) -> SweepFailedError:
        """Return the error of what is gone."""
        return SweepFailedError(f"{why}; {self.how_to_go_on}")

    def _failure_of(self, error: Exception) -> ChempropHpoError:
        if isinstance(error, ChempropHpoError):
            return error
        if is_full(error):
            return self.no_room(str(error.__cause__ or error).splitlines()[0])
        if is_outage(error):
            return self.failed(f"{self.db.masked_url} is away")
        raise error


class _Crew:
    """The members that one driver trains, from the first to the last."""

    def __init__(
        self,
        work: _Work,
        driver: Driver,
        pulse: Pulse,
        pool: Pool,
        audience: MemberAudience,
        interrupts: Interrupts,
        size: int,
    ) -> None:
        self._work = work
        self._driver = driver
        self._pulse = pulse
        self._pool = pool
        self._audience = audience
        self._interrupts = interrupts
        self._size = size
        self._jobs: Mapping[MemberKey, MemberJob] = {job.key: job for job in work.jobs}
        self._book = MemberBook(work.db, driver.id, work.folder, audience)
        self._look_again_at = 0.0
        self._is_stopping = False
        self._unwritable: str | None = None

    def train(self) -> None:
        """Train until all members have ended, here or with another driver."""
        self._book.see(self._work.read())
        self._announce()
        failure: ChempropHpoError | None = None
        try:
            with self._interrupts.in_ray():
                failure = self._train_all()
        except BaseException:
            self._end("failed")
            raise
        finally:
            if not self._interrupts.ray_is_gone:
                self._pool.close()
        self._conclude(failure)

    def _train_all(self) -> ChempropHpoError | None:
        while not self._is_over():
            if (failure := self._failure()) is not None:
                self._stop()
                return failure
            self._hand_out()
            for member_id, said in self._pool.arrived(LOOK_EVERY_S):
                self._take_in(member_id, said)
            self._drop_lost()
            self._book.writer.flush()
            self._audience.tell(lambda observer: observer.tick())
        return None

    def _is_over(self) -> bool:
        tally = self._book.tally
        return tally.ended == tally.total and not self._book.writer.waiting

    # ------------------------------------------------------------------ to the workers

    def _hand_out(self) -> None:
        for flight in self._book.flights.values():
            if flight.needs_worker:
                self._begin(flight)
        if time.monotonic() < self._look_again_at or not self._book.writer.may_ask():
            return
        try:
            while self._pool.has_room() and self._claim():
                pass
            if self._pool.has_room():
                # Nothing is left to claim; other drivers may yet leave something behind.
                self._look()
        except Exception as error:
            if not self._book.writer.excuse(error):
                raise
            return
        self._book.writer.note_success()

    def _claim(self) -> bool:
        record = claim_member(
            self._work.db,
            self._work.study,
            self._driver.id,
            list(self._jobs),
            self._book.flights,
        )
        if record is None:
            return False
        flight = MemberFlight.of(record, self._jobs[record.key])
        self._book.begin(flight)
        self._begin(flight)
        return True

    def _begin(self, flight: MemberFlight) -> None:
        flight.needs_worker = False
        self._pool.begin(flight.id, flight.job, flight.reached)

    def _look(self) -> None:
        self._book.see(self._work.read())
        self._look_again_at = time.monotonic() + ASK_AGAIN_S

    # ------------------------------------------------------------------ from the workers

    def _take_in(self, member_id: int, said: TrialReport | Death) -> None:
        flight = self._book.flights.get(member_id)
        if flight is None:
            return
        if isinstance(said, Death):
            self._book.worker_died(flight, said.why, out_of_memory=said.out_of_memory)
        elif said.stop_reason == "unwritable":
            self._unwritable = said.error or "no checkpoint can be written"
        elif said.stop_reason is not None:
            self._pool.end(member_id)
            self._look_again_at = 0.0  # there is room for another
            self._book.report(flight, said)
            self._book.end(flight, said.stop_reason, said.error)
        else:
            if not self._is_stopping:
                self._pool.go_on(member_id)  # before the database is written to
            self._book.report(flight, said)

    def _drop_lost(self) -> None:
        while self._book.lost:
            self._pool.drop(self._book.lost.pop())

    # ------------------------------------------------------------------ the end

    def _failure(self) -> ChempropHpoError | None:
        """Return why the training cannot go on, or None if it can."""
        work = self._work
        if self._interrupts.received is not None:
            return TrainingInterruptedError(self._interrupts.received, work.how_to_go_on)
        if self._interrupts.ray_is_gone:
            return work.failed("the Ray cluster went away")
        if self._unwritable is not None:
            return work.no_room(f"{work.folder}: {self._unwritable}")
        if (full := self._book.writer.full) is not None:
            return work.no_room(f"{work.db.masked_url}: {full}")
        if self._pulse.deleted:
            return SweepFailedError(f"study '{work.study.study_name}' was deleted meanwhile")
        # A beat is due every BEAT_EVERY_S; only what is beyond that is an outage.
        if self._pulse.silent_s() - BEAT_EVERY_S > work.config.study.outage_limit_s:
            return work.failed(f"{work.db.masked_url} is away")
        return None

    def _stop(self) -> None:
        """Have each member write a checkpoint, and let whoever comes next go on with it."""
        self._is_stopping = True
        if not self._interrupts.ray_is_gone:
            for member_id, said in self._pool.stopped(STOP_WITHIN_S):
                self._take_in(member_id, said)
        self._settle()
        self._interrupts.trials_are_in_order()
        if self._interrupts.ray_is_gone:
            raise RayIsGone

    def _settle(self) -> None:
        """Let members in flight wait; where the database is away they are orphans."""
        with _unless_away():
            if self._book.writer.flush():
                for flight in list(self._book.flights.values()):
                    self._book.release(flight, "interrupted")

    def _conclude(self, failure: ChempropHpoError | None) -> None:
        if failure is None and not self._is_over():
            failure = self._failure() or self._work.failed("the Ray cluster went away")
        is_interrupted = isinstance(failure, TrainingInterruptedError)
        reason = "interrupted" if is_interrupted else "failed" if failure else "finished"
        self._end(reason)
        if failure is not None:
            raise failure

    # ------------------------------------------------------------------ what is told

    def _announce(self) -> None:
        config = self._work.config
        event = MembersStarted(
            study=self._work.study.study_name,
            metric=config.metric,
            mode=config.mode,
            max_epochs=config.max_epochs,
            concurrency=self._size,
            tally=self._book.tally,
        )
        self._audience.tell(lambda observer: observer.members_started(event))

    def _end(self, reason: str) -> None:
        self._settle()
        event = MembersEnded(reason, self._book.tally)
        self._audience.tell(lambda observer: observer.members_ended(event))


@contextmanager
def _unless_away() -> Iterator[None]:
    """Leave a step out where the database is away or full; what is stored stays right."""
    try:
        yield
    except Exception as error:
        if not (is_outage(error) or is_full(error)):
            raise
        log.debug("left out, since the database is away: %s", error)
