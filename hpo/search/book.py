"""What becomes of each trial, written to the study as it happens."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import Value
from chemprop_hpo.hpo.events import Audience, EpochEnded, TrialEnded, TrialStarted
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.writer import StudyWriter
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.news import TrialNews

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
    """Whether it waits for a worker after its first one, which died or had no memory left."""
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
    db : Database
        Where the trials are kept.
    audience : Audience
        Told of each start, epoch and end.
    """

    def __init__(self, db: Database, audience: Audience) -> None:
        self._db = db
        self._audience = audience
        self.writer = StudyWriter(self._lose, write_news=db.storage.write_news)
        self.flights: dict[str, Flight] = {}
        """Trials in flight by Ray's id."""

    def point_of(self, trial: Trial) -> AbstractContextManager[None]:
        """Return the context in which a trial is asked for its hyperparameters."""
        return self._db.storage.point_of(trial._trial_id)

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
        self._put(flight, attributes)
        event = TrialStarted(
            flight.number, flight.params, flight.head, flight.seed, flight.continues
        )
        self._audience.tell(lambda observer: observer.trial_started(event))

    def begin_again(self, flight: Flight, ray_id: str) -> None:
        """Put a trial that gets another worker under the name that Ray has for it now."""
        del self.flights[flight.ray_id]
        flight.ray_id, flight.needs_worker = ray_id, False
        self.flights[ray_id] = flight
        self._put(flight, {"ray_trial_id": ray_id})

    def report(self, flight: Flight, report: TrialReport) -> None:
        """Write down an epoch; one that is known already (a worker went back) is passed over."""
        values, attributes = self._news(flight, report)
        if values or attributes:
            news = TrialNews(flight.trial._trial_id, values, attributes)
            self.writer.report(flight.number, news)
        if values:
            self._take_in(flight, report)

    def end(
        self,
        flight: Flight,
        state: TrialState,
        stop_reason: str,
        error: str | None = None,
        report: TrialReport | None = None,
    ) -> None:
        """Write down how a trial ended, in one piece with the last epoch that it reported.

        Written one after the other, a kill in between would leave a trial that stands on a
        rung of ASHA's as one that may go on, though it was stopped there.

        Parameters
        ----------
        flight : Flight
            The trial.
        state : TrialState
            ``COMPLETE``, ``PRUNED`` or ``FAIL``.
        stop_reason : str
            As the study keeps it.
        error : str, optional
            What went wrong.
        report : TrialReport, optional
            The last report, if it was not written down before.
        """
        values, attributes = self._news(flight, report) if report else ({}, {})
        if values and report:
            self._take_in(flight, report)
        attributes |= self._last_words(flight, stop_reason, error)
        constraints = {"memory": 1.0} if stop_reason == "oom" else {}
        value = None if state == TrialState.FAIL else flight.last.best
        trial_id = flight.trial._trial_id
        self.writer.put(
            flight.number,
            lambda: self._db.storage.finish_trial(
                trial_id,
                state,
                value,
                intermediate_values=values,
                user_attrs=attributes,
                constraints=constraints,
            ),
        )
        self.forget(flight, state.name, stop_reason, error)

    def note_end(self, flight: Flight, stop_reason: str) -> None:
        """Write the attributes of a trial that is to be continued; it takes no more afterwards."""
        self._put(flight, self._last_words(flight, stop_reason, None))

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

    def _put(self, flight: Flight, attributes: Mapping[str, Any]) -> None:
        storage, trial_id = self._db.storage, flight.trial._trial_id
        self.writer.put(flight.number, lambda: storage.write_trial(trial_id, {}, attributes))

    def _news(self, flight: Flight, report: TrialReport) -> tuple[dict[int, float], dict[str, Any]]:
        """Return the epochs and attributes of a report that the study does not know."""
        attributes: dict[str, Any] = {}
        for line in report.notes:
            log.warning("trial %d: %s", flight.number, line)
        if report.resumed_from is not None:
            attributes["resumed_from"] = report.resumed_from
        if report.best is None or report.epoch <= flight.last.epoch:
            return {}, attributes
        values = _new_values(flight, report)
        if flight.last.epoch == 0:
            attributes |= {"first_epoch": min(values), **self._tracking(flight)}
        return values, attributes

    def _take_in(self, flight: Flight, report: TrialReport) -> None:
        flight.last, flight.deaths = report, 0
        event = _epoch_event(flight.number, report)
        self._audience.tell(lambda observer: observer.epoch_ended(event))

    def _last_words(self, flight: Flight, stop_reason: str, error: str | None) -> dict[str, Any]:
        last = flight.last
        return {
            "stop_reason": stop_reason,
            "epochs": max(last.epoch, flight.reached),
            "best_epoch": last.best_epoch,
            "metrics": _finite(last.final or last.best_metrics),
            **({"error": error} if error else {}),
            **self._tracking(flight),
        }

    def _tracking(self, flight: Flight) -> dict[str, Any]:
        # Early, for a driver that dies; again at the end, where the server was slow to answer.
        return dict(self._audience.attributes_of(flight.number))

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
