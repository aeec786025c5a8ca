"""What becomes of each trial, written to the study as it happens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna import Study
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import Value
from chemprop_hpo.hpo.events import Audience, EpochEnded, TrialEnded, TrialStarted
from chemprop_hpo.hpo.search.reports import TrialReport

__all__ = ["Flight", "TrialBook"]


@dataclass
class Flight:
    """A trial that runs now."""

    trial: Trial
    ray_id: str
    params: dict[str, Value]
    seed: int
    bracket: int
    folder: str
    continues: int | None
    first_epoch: int | None = None
    last: TrialReport = field(default_factory=TrialReport)
    best_metrics: Mapping[str, float] = field(default_factory=dict)

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

    Parameters
    ----------
    study : optuna.Study
        Where the trials are kept.
    driver_id : str
        Who runs them.
    audience : Audience
        Told of each start, epoch and end.
    """

    def __init__(self, study: Study, driver_id: str, audience: Audience) -> None:
        self._study = study
        self._driver_id = driver_id
        self._audience = audience
        self.flights: dict[str, Flight] = {}
        """Running trials by Ray's trial id."""

    def begin(self, flight: Flight, head: str) -> None:
        """Write down whose the trial is, before its worker starts."""
        self.flights[flight.ray_id] = flight
        for name, value in {
            "driver": self._driver_id,
            "ray_trial_id": flight.ray_id,
            "seed": flight.seed,
            "head": head,
            "bracket": flight.bracket,
            "checkpoint": flight.folder,
        }.items():
            flight.trial.set_user_attr(name, value)
        event = TrialStarted(flight.number, flight.params, head, flight.seed, flight.continues)
        self._audience.tell(lambda observer: observer.trial_started(event))

    def report(self, flight: Flight, report: TrialReport) -> None:
        """Write down an epoch; one that is known already (a worker went back) is passed over."""
        if report.best is None or report.epoch <= flight.last.epoch:
            return
        flight.trial.report(report.best, report.epoch)
        if flight.first_epoch is None:
            flight.first_epoch = report.epoch
            flight.trial.set_user_attr("first_epoch", report.epoch)
            self._note_tracking(flight)
        flight.last = report
        if report.best_epoch == report.epoch:
            flight.best_metrics = report.metrics
        event = _epoch_event(flight.number, report)
        self._audience.tell(lambda observer: observer.epoch_ended(event))

    def end(
        self, flight: Flight, state: TrialState, stop_reason: str, error: str | None = None
    ) -> None:
        """Write down how a trial ended; its last epoch must have been reported before."""
        self.note_end(flight, stop_reason, error)
        value = flight.last.best if state == TrialState.COMPLETE else None
        self._study.tell(flight.trial, value, state=state)
        self.forget(flight, state.name, stop_reason, error)

    def note_end(self, flight: Flight, stop_reason: str, error: str | None = None) -> None:
        """Write the attributes of a trial's end; a finished trial takes no more of them."""
        last = flight.last
        attributes: dict[str, Any] = {
            "stop_reason": stop_reason,
            "epochs": last.epoch,
            "best_epoch": last.best_epoch,
            "metrics": _finite(last.final or flight.best_metrics),
            **({"error": error} if error else {}),
        }
        for name, value in attributes.items():
            flight.trial.set_user_attr(name, value)
        self._note_tracking(flight)

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
            dict(last.final or flight.best_metrics),
            error,
        )
        self._audience.tell(lambda observer: observer.trial_ended(event))

    def _note_tracking(self, flight: Flight) -> None:
        # Early, for a driver that dies; again at the end, where the server was slow to answer.
        known = flight.trial.user_attrs
        for name, value in self._audience.attributes_of(flight.number).items():
            if known.get(name) != value:
                flight.trial.set_user_attr(name, value)

    def chain_of(self, ray_id: str) -> tuple[str, int] | None:
        """Return the key of a running trial's chain and its bracket, for ASHA."""
        flight = self.flights.get(ray_id)
        return None if flight is None else (flight.key, flight.bracket)


def _epoch_event(number: int, report: TrialReport) -> EpochEnded:
    value, best, best_epoch = report.value, report.best, report.best_epoch
    if value is None or best is None or best_epoch is None:
        raise ValueError(f"trial {number}: an epoch was reported without its value")
    return EpochEnded(number, report.epoch, value, best, best_epoch, report.metrics, report.seconds)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    # JSON in PostgreSQL has no NaN.
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
