"""One driver's time with members: hand them out, write down what comes back, end in order."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chemprop_hpo.configs.errors import ChempropHpoError, SweepFailedError
from chemprop_hpo.hpo.ensembles.members.assignment import (
    Assignment,
    TrainingInterruptedError,
)
from chemprop_hpo.hpo.ensembles.members.book import MemberBook, MemberFlight
from chemprop_hpo.hpo.ensembles.members.events import MemberAudience, MembersEnded, MembersStarted
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.ensembles.members.pool import Death, Pool
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.interrupts import Interrupts, RayIsGone
from chemprop_hpo.storage.members import MemberKey, claim_member
from chemprop_hpo.storage.outages import unless_away
from chemprop_hpo.storage.ownership import BEAT_EVERY_S, Driver
from chemprop_hpo.storage.pulse import Pulse

__all__ = ["Crew"]

LOOK_EVERY_S = 0.2
ASK_AGAIN_S = 2.0
STOP_WITHIN_S = 6.0


class Crew:
    """The members that one driver trains, from the first to the last.

    Parameters
    ----------
    work : Assignment
        Which members.
    driver : Driver
        The present process.
    pulse : Pulse
        Its beats.
    pool : Pool
        Its workers.
    audience : MemberAudience
        Told what happens.
    interrupts : Interrupts
        Whether a signal came, or Ray is gone.
    """

    def __init__(
        self,
        work: Assignment,
        driver: Driver,
        pulse: Pulse,
        pool: Pool,
        audience: MemberAudience,
        interrupts: Interrupts,
    ) -> None:
        self._work = work
        self._driver = driver
        self._pulse = pulse
        self._pool = pool
        self._audience = audience
        self._interrupts = interrupts
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
                self._pool.rest()
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
            if member_id in self._book.flights:  # else another driver has it
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
        with unless_away():
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
            concurrency=self._pool.size,
            tally=self._book.tally,
        )
        self._audience.tell(lambda observer: observer.members_started(event))

    def _end(self, reason: str) -> None:
        self._settle()
        event = MembersEnded(reason, self._book.tally)
        self._audience.tell(lambda observer: observer.members_ended(event))
