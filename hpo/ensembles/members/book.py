"""What becomes of each member, written to the database as it happens."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.ensembles.members.events import (
    MemberAudience,
    MemberEnded,
    MemberEpoch,
    MemberStarted,
    Tally,
)
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.writer import StudyWriter
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.members import (
    MAX_DEATHS,
    MemberRecord,
    end_member,
    release_member,
    write_epoch,
)

__all__ = ["MemberBook", "MemberFlight"]

log = logging.getLogger(__name__)

COMPLETE_REASONS = frozenset({"max_t", "early_stopping", "last_epoch"})


@dataclass
class MemberFlight:
    """A member that this driver has begun and not ended."""

    id: int
    job: MemberJob
    reached: int
    """The last epoch that the database knows, or is about to."""
    deaths: int
    curve: list[float | None]
    best: float | None
    best_epoch: int | None
    last: TrialReport = field(default_factory=TrialReport)
    needs_worker: bool = False

    @classmethod
    def of(cls, record: MemberRecord, job: MemberJob) -> MemberFlight:
        """Return the flight of a member that was claimed."""
        curve, best = list(record.curve), record.value
        return cls(record.id, job, record.epoch, record.retries, curve, best, record.best_epoch)

    @property
    def name(self) -> str:
        """The member in words."""
        key = self.job.key
        return f"member of trial {key.trial}, split {key.split}, fold {key.fold}"

    def take_in(self, report: TrialReport) -> None:
        """Remember an epoch; one that was trained before is replaced."""
        self.last, self.best, self.best_epoch = report, report.best, report.best_epoch
        missed = report.epoch - len(self.curve)
        self.curve += [None] * missed
        self.curve[report.epoch - 1] = report.value


class MemberBook:
    """Writes members to the database and tells the observers.

    While the database is away the observers are told at once, and the database later.

    Parameters
    ----------
    db : Database
        Where the members are kept.
    driver_id : str
        Who trains them.
    folder : Path
        The study's, absolute.
    audience : MemberAudience
        Told of each start, epoch and end.
    """

    def __init__(
        self, db: Database, driver_id: str, folder: Path, audience: MemberAudience
    ) -> None:
        self._db = db
        self._driver_id = driver_id
        self._folder = folder
        self._audience = audience
        self._states: dict[int, str] = {}
        self.writer = StudyWriter(self._lose)
        self.flights: dict[int, MemberFlight] = {}
        """Members in flight by their ids."""
        self.lost: list[int] = []
        """Members in flight until another driver took them; their workers are still at it."""

    @property
    def tally(self) -> Tally:
        """How far all members are."""
        states = list(self._states.values())
        return Tally(states.count("complete"), states.count("failed"), len(states))

    def see(self, records: Iterable[MemberRecord]) -> None:
        """Be told how members stand in the database."""
        self._states |= {r.id: r.state for r in records if r.id not in self.flights}

    def begin(self, flight: MemberFlight) -> None:
        """Take a member that was claimed."""
        self.flights[flight.id] = flight
        self._states[flight.id] = "running"
        key, spec, reached = flight.job.key, flight.job.spec, flight.reached
        event = MemberStarted(*key[:3], spec.seed, reached, spec.max_epochs, self.tally)
        self._audience.tell(lambda observer: observer.member_started(event))

    def report(self, flight: MemberFlight, report: TrialReport) -> None:
        """Write down an epoch; one that is known already (a worker went back) is only told."""
        for line in report.notes:
            log.warning("%s: %s", flight.name, line)
        if report.best is None:
            return
        flight.take_in(report)
        if report.epoch > flight.reached or report.stop_reason is not None:
            flight.reached, flight.deaths = report.epoch, 0
            self._write(flight)
        event = _epoch_event(flight, self.tally)
        self._audience.tell(lambda observer: observer.member_epoch(event))

    def end(self, flight: MemberFlight, stop_reason: str, error: str | None = None) -> None:
        """Write down how a member ended; checkpoints of a complete one are removed then."""
        state = "complete" if stop_reason in COMPLETE_REASONS else "failed"
        last, place = flight.last, TrialFolder(self._folder / flight.job.folder)
        metrics = {k: v for k, v in (last.final or last.best_metrics).items() if math.isfinite(v)}

        def make() -> None:
            end_member(
                self._db,
                flight.id,
                self._driver_id,
                state,
                stop_reason=stop_reason,
                metrics=metrics,
                error=error,
            )
            if state == "complete":
                with contextlib.suppress(OSError):  # the next call removes them
                    place.drop_checkpoints()

        self.writer.put(flight.id, make)
        if flight.id in self.flights:  # else another driver has it
            self._forget(flight, state, stop_reason, error)

    def worker_died(self, flight: MemberFlight, why: str, *, out_of_memory: bool) -> None:
        """Let a member whose worker died wait for another, or give it up."""
        flight.deaths += 1
        if flight.deaths > MAX_DEATHS:
            text = f"its worker died {flight.deaths} times without a new epoch: {why}"
            return self.end(flight, "oom" if out_of_memory else "error", text)
        log.warning("%s has lost its worker and gets another: %s", flight.name, why)
        flight.needs_worker = True
        self._write(flight)

    def release(self, flight: MemberFlight, stop_reason: str) -> None:
        """Let a member wait for whoever goes on with it.

        At once, or it raises: what must be written before has to be.
        """
        release_member(self._db, flight.id, self._driver_id, stop_reason)
        self._forget(flight, "waiting", stop_reason)

    # ------------------------------------------------------------------ steps

    def _write(self, flight: MemberFlight) -> None:
        values: dict[str, Any] = {
            "epoch": flight.reached,
            "best_epoch": flight.best_epoch,
            "value": flight.best,
            "curve": list(flight.curve[: flight.reached]),
            "retries": flight.deaths,
        }
        self.writer.put(
            flight.id, lambda: write_epoch(self._db, flight.id, self._driver_id, **values)
        )

    def _forget(
        self, flight: MemberFlight, state: str, stop_reason: str, error: str | None = None
    ) -> None:
        self.flights.pop(flight.id, None)
        self._states[flight.id] = state
        event = MemberEnded(
            *flight.job.key[:3],
            state,
            flight.best,
            flight.best_epoch,
            flight.reached,
            stop_reason,
            error,
            self.tally,
        )
        self._audience.tell(lambda observer: observer.member_ended(event))

    def _lose(self, member_id: int) -> None:
        """Let go of a member that another driver goes on with."""
        flight = self.flights.get(member_id)
        if flight is None:  # it had ended here, and nobody could be told so in time
            self._states[member_id] = "running"
            return
        log.warning("%s is taken: another driver found this one asleep", flight.name)
        self._forget(flight, "running", "orphaned")
        self.lost.append(member_id)


def _epoch_event(flight: MemberFlight, tally: Tally) -> MemberEpoch:
    last, key = flight.last, flight.job.key
    if last.value is None or last.best is None or last.best_epoch is None:
        raise ValueError(f"{flight.name}: an epoch was reported without its value")
    return MemberEpoch(
        *key[:3],
        last.epoch,
        flight.job.spec.max_epochs,
        last.value,
        last.best,
        last.best_epoch,
        last.seconds,
        tally,
    )
