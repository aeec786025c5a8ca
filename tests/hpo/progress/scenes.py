"""Events of a sweep, and a clock that a test moves."""

from __future__ import annotations

from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.progress.state import SweepState


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def started(**changes: object) -> SweepStarted:
    values: dict[str, object] = {
        "study": "esol",
        "storage": "sqlite:///studies.db",
        "metric": "val_loss",
        "mode": "min",
        "num_samples": 10,
        "max_epochs": 50,
        "concurrency": 2,
        "resumed": False,
        "counts": {},
    }
    return SweepStarted(**{**values, **changes})  # type: ignore[arg-type]  # names as in the event


def epoch(number: int, at: int, value: float) -> EpochEnded:
    return EpochEnded(number, at, value, value, at, {}, 1.0)


def ended(number: int, state: str, value: float | None, epochs: int, why: str) -> TrialEnded:
    return TrialEnded(number, state, value, epochs, epochs, why)


def running_state(trials: int = 3, clock: Clock | None = None) -> SweepState:
    clock = clock or Clock()
    state = SweepState(started(), clock)
    for number in range(trials):
        state.trial_started(TrialStarted(number, {}, "mixture_of_experts", number))
    for at in range(1, 21):
        clock.now += 1
        for number in range(trials):
            state.epoch_ended(epoch(number, at, 1 / at))
    return state
