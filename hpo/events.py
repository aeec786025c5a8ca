"""What happens in a sweep, as it is told to whoever watches: the display, MLflow, a test."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

__all__ = [
    "Audience",
    "EpochEnded",
    "Observer",
    "SweepEnded",
    "SweepStarted",
    "TrialEnded",
    "TrialStarted",
    "Watchers",
]


log = logging.getLogger(__name__)

Watcher = TypeVar("Watcher")


@dataclass(frozen=True)
class SweepStarted:
    """A driver begins, or goes on with, a study.

    ``counts`` are the study's trials by state name (``COMPLETE``, ``PRUNED``, ``FAIL`` ...) at
    that moment, ``best`` the best finished value so far. ``continued`` of the failed ones were
    only stopped: another trial goes on with each, and the two count once.
    """

    study: str
    storage: str
    """Database URL with its password masked."""
    metric: str
    mode: str
    num_samples: int
    max_epochs: int
    concurrency: int
    resumed: bool
    counts: Mapping[str, int]
    best: float | None = None
    continued: int = 0


@dataclass(frozen=True)
class TrialStarted:
    """A trial got a worker; ``continues`` is the number of the trial that it goes on with."""

    number: int
    params: Mapping[str, Any]
    head: str
    seed: int
    continues: int | None = None


@dataclass(frozen=True)
class EpochEnded:
    """A trial reported an epoch. Epochs count from 1; ``best`` is the running best value."""

    number: int
    epoch: int
    value: float
    best: float
    best_epoch: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class TrialEnded:
    """A trial reached its final state: ``COMPLETE``, ``PRUNED`` or ``FAIL``."""

    number: int
    state: str
    value: float | None
    best_epoch: int | None
    epochs: int
    stop_reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class SweepEnded:
    """The driver leaves the study.

    ``reason`` is ``finished``, ``interrupted``, ``time_budget`` or ``failed``.
    """

    reason: str
    counts: Mapping[str, int]
    best_number: int | None
    best: float | None


class Observer(Protocol):
    """Whoever watches a sweep. All calls come from the driver's main thread, in order."""

    def sweep_started(self, event: SweepStarted) -> None:
        """Be told that the driver begins."""

    def trial_started(self, event: TrialStarted) -> None:
        """Be told that a trial runs."""

    def epoch_ended(self, event: EpochEnded) -> None:
        """Be told of one epoch."""

    def trial_ended(self, event: TrialEnded) -> None:
        """Be told how a trial ended."""

    def tick(self) -> None:
        """Be called several times a second while the sweep runs."""

    def sweep_ended(self, event: SweepEnded) -> None:
        """Be told that the driver leaves; the last call."""


class Watchers(Generic[Watcher]):
    """Observers told one after another; one that raises is told nothing more.

    Watching must never change what is watched: an exception inside Tune's loop would count as
    a failure of the trial at hand.

    Parameters
    ----------
    observers : iterable
        Who watches.
    """

    def __init__(self, observers: Iterable[Watcher]) -> None:
        self._observers = list(observers)

    def tell(self, what: Callable[[Watcher], None]) -> None:
        """Call ``what`` with each observer."""
        for observer in list(self._observers):
            try:
                what(observer)
            except Exception:
                log.warning("%s is told no more", type(observer).__name__, exc_info=True)
                self._observers.remove(observer)


class Audience(Watchers[Observer]):
    """Whoever watches a sweep."""

    def attributes_of(self, number: int) -> dict[str, Any]:
        """Return what observers want to be remembered with a trial: its MLflow run."""
        for observer in self._observers:
            if run_id := getattr(observer, "run_id", lambda number: None)(number):
                return {"mlflow_run_id": run_id}
        return {}
