"""What becomes of each trial, written to the study as it happens."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import Value
from chemprop_hpo.hpo.events import Audience, EpochEnded, TrialEnded, TrialStarted
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.writer import StudyWriter

__all__ = ["Flight", "TrialBook"]

log = logging.getLogger(__name__)


@dataclass
class Flight:
    """A trial that this driver has begun and not ended."""

    trial: Trial
    ray_id: str
    params: dict[str, Value]
    head: str
    seed: int
    bracket: int
    folder: str
    continues: int | None
    reached: int
    """The last epoch that the study knew of the trial's chain when it began here."""
    last: TrialReport = field(default_factory=TrialReport)
    needs_worker: bool = False
    """Whether its worker died and it waits for another."""
    deaths: int = 0
    """How many workers died since the last new epoch."""

    @property
    def number(self) -> int:
        """The trial's number in the study."""
        return int(self.trial.number)

    @property
    def key(self) -> str:
        """What the trial shares with those that it continues."""
        return self.folder


class TrialBook:
    """Writes trials to the study and tells the observers.

    While the database is away the observers are told at once, and the study later.

    Parameters
    ----------
    study : optuna.Study
        Where the trials are kept.
    audience : Audience
        Told of each start, epoch and end.
    """

    def __init__(self, study: Study, audience: Audience) -> None:
        self._study = study
        self._audience = audience
        self.writer = StudyWriter(self._lose)
        self.flights: dict[str, Flight] = {}
        """Trials in flight by Ray's id."""

    def begin(self, flight: Flight) -> None:
        """Write down how the trial is run, before its worker starts."""
        self.flights[flight.ray_id] = flight
        attributes = {
            "ray_trial_id": flight.ray_id,
            "seed": flight.seed,
            "head": flight.head,
            "bracket": flight.bracket,
            "checkpoint": flight.folder,
        }
        self._put_attributes(flight, attributes)
        event = TrialStarted(
            flight.number, flight.params, flight.head, flight.seed, flight.continues
        )
        self._audience.tell(lambda observer: observer.trial_started(event))

    def begin_again(self, flight: Flight, ray_id: str) -> None:
        """Put a trial whose worker died under the name that Ray has for it now."""
        del self.flights[flight.ray_id]
        flight.ray_id, flight.needs_worker = ray_id, False
        self.flights[ray_id] = flight
        self._put_attributes(flight, {"ray_trial_id": ray_id})

    def report(self, flight: Flight, report: TrialReport) -> None:
        """Write down an epoch; one that is known already (a worker went back) is passed over."""
        self._note_return(flight, report)
        if report.best is None or report.epoch <= flight.last.epoch:
            return
        values = _new_values(flight, report)
        attributes: dict[str, Any] = {}
        if flight.last.epoch == 0:
            attributes = {"first_epoch": min(values), **self._tracking(flight)}
        self._put(flight, values, attributes)
        flight.last, flight.deaths = report, 0
        event = _epoch_event(flight.number, report)
        self._audience.tell(lambda observer: observer.epoch_ended(event))

    def end(
        self, flight: Flight, state: TrialState, stop_reason: str, error: str | None = None
    ) -> None:
        """Write down how a trial ended; its last epoch must have been reported before."""
        self.note_end(flight, stop_reason, error)
        value = flight.last.best if state == TrialState.COMPLETE else None
        constraint = stop_reason == "oom"
        self.writer.put(flight.number, lambda: self._tell(flight, state, value, constraint))
        self.forget(flight, state.name, stop_reason, error)

    def note_end(self, flight: Flight, stop_reason: str, error: str | None = None) -> None:
        """Write the attributes of a trial's end; a finished trial takes no more of them."""
        last = flight.last
        attributes: dict[str, Any] = {
            "stop_reason": stop_reason,
            "epochs": max(last.epoch, flight.reached),
            "best_epoch": last.best_epoch,
            "metrics": _finite(last.final or last.best_metrics),
            **({"error": error} if error else {}),
        }
        self._put_attributes(flight, attributes | self._tracking(flight))

    def forget(
        self, flight: Flight, state: str, stop_reason: str, error: str | None = None
    ) -> None:
        """Take a trial that has ended off the list of the running and tell the observers."""
        self.flights.pop(flight.ray_id, None)
        last = flight.last
        event = TrialEnded(
            flight.number,
            state,
            last.best,
            last.best_epoch,
            last.epoch,
            stop_reason,
            dict(last.final or last.best_metrics),
            error,
        )
        self._audience.tell(lambda observer: observer.trial_ended(event))

    def chain_of(self, ray_id: str) -> tuple[str, int] | None:
        """Return the key of a running trial's chain and its bracket, for ASHA."""
        flight = self.flights.get(ray_id)
        return None if flight is None else (flight.key, flight.bracket)

    # ------------------------------------------------------------------ writing

    def _put_attributes(self, flight: Flight, attributes: Mapping[str, Any]) -> None:
        self._put(flight, {}, attributes)

    def _put(
        self, flight: Flight, values: Mapping[int, float], attributes: Mapping[str, Any]
    ) -> None:
        storage, trial_id = self._study._storage, flight.trial._trial_id

        def make() -> None:
            for epoch, value in values.items():
                storage.set_trial_intermediate_value(trial_id, epoch, value)
            for name, attribute in attributes.items():
                storage.set_trial_user_attr(trial_id, name, attribute)

        self.writer.put(flight.number, make)

    def _tell(
        self, flight: Flight, state: TrialState, value: float | None, constraint: bool
    ) -> None:
        now = self._study._storage.get_trial(flight.trial._trial_id)
        if now.state.is_finished():
            if now.state == state and now.user_attrs.get("continued_by") is None:
                return  # told before, and the answer was lost
            raise UpdateFinishedTrialError(f"trial {flight.number} was ended by another driver")
        if constraint:
            # TPE never reads failed trials; a pruned one with a violated constraint it avoids.
            flight.trial.set_constraint("memory", 1.0)
        self._study.tell(flight.number, value, state=state)

    def _tracking(self, flight: Flight) -> dict[str, Any]:
        # Early, for a driver that dies; again at the end, where the server was slow to answer.
        return dict(self._audience.attributes_of(flight.number))

    def _note_return(self, flight: Flight, report: TrialReport) -> None:
        for line in report.notes:
            log.warning("trial %d: %s", flight.number, line)
        if report.resumed_from is not None:
            self._put_attributes(flight, {"resumed_from": report.resumed_from})

    def _lose(self, number: int) -> None:
        """Let go of a trial that another driver goes on with."""
        log.warning("trial %d is taken: another driver found this one asleep", number)
        for flight in [f for f in self.flights.values() if f.number == number]:
            self.forget(flight, "FAIL", "orphaned")


def _new_values(flight: Flight, report: TrialReport) -> dict[int, float]:
    """Return the running best of the reported epoch, and of those that never arrived before it.

    The checkpoint that a trial goes on from may be ahead of the study, by many epochs where
    the database was away.
    """
    known = max(flight.last.epoch, flight.reached)
    missed = {e: report.curve[e - 1] for e in range(known + 1, len(report.curve))}
    assert report.best is not None
    return missed | {report.epoch: report.best}


def _epoch_event(number: int, report: TrialReport) -> EpochEnded:
    value, best, best_epoch = report.value, report.best, report.best_epoch
    if value is None or best is None or best_epoch is None:
        raise ValueError(f"trial {number}: an epoch was reported without its value")
    return EpochEnded(number, report.epoch, value, best, best_epoch, report.metrics, report.seconds)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    # JSON in PostgreSQL has no NaN.
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
