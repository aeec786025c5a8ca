"""Read the trials of a study, and pick the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from chemprop_hpo.configs.errors import UsageError

__all__ = [
    "TrialRecord",
    "best_trials",
    "counts",
    "epochs_trained",
    "folder_of",
    "folders_in_use",
    "trial_records",
]


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the study remembers it; times are in UTC."""

    number: int
    state: str
    """``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING`` or ``WAITING``."""
    value: float | None
    """The metric at the best epoch; of a pruned trial the best until it was stopped."""
    params: Mapping[str, Any]
    epochs: int
    """The last epoch reported, counted over the whole chain that the trial goes on with."""
    best_epoch: int | None
    head: str | None
    seed: int | None
    stop_reason: str | None
    metrics: Mapping[str, float]
    checkpoint: str | None
    continues: int | None
    continued_by: int | None
    retry: int
    bracket: int | None
    error: str | None
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class FoldersInUse:
    """Folders, relative to the study's: of the best trials, and of those not finished."""

    best: frozenset[str]
    unfinished: frozenset[str]


def trial_records(study: optuna.Study) -> list[TrialRecord]:
    """Return every trial of ``study`` in the order of their numbers."""
    return [_record(trial) for trial in study.get_trials(deepcopy=False)]


def best_trials(study: optuna.Study, k: int, distinct: bool = False) -> list[TrialRecord]:
    """Return the ``k`` best trials that were trained to their end, the best first.

    Parameters
    ----------
    study : optuna.Study
        Of one metric; its direction says what is better.
    k : int
        How many.
    distinct : bool
        Count equal hyperparameters once.

    Raises
    ------
    UsageError
        ``k`` is below one, or fewer trials than that are complete.
    """
    if k < 1:
        raise UsageError(f"-k must be at least 1, not {k}")
    ranked = _ranked(study.get_trials(deepcopy=False), study.direction)
    chosen = _first_of_each(ranked) if distinct else ranked
    if len(chosen) < k:
        kind = "complete trial" if len(chosen) == 1 else "complete trials"
        kind += " with different hyperparameters" if distinct else ""
        raise UsageError(
            f"study '{study.study_name}' has {len(chosen)} {kind}, fewer than the {k} asked for; "
            "ask for fewer with -k, or let the sweep go on"
        )
    return [_record(trial) for trial in chosen[:k]]


def counts(study: optuna.Study) -> dict[str, int]:
    """Return the number of trials in each state, zeros included.

    A trial that was continued is counted as well as the one that goes on with it.
    """
    found = {state.name: 0 for state in TrialState}
    for trial in study.get_trials(deepcopy=False):
        found[trial.state.name] += 1
    return found


def folders_in_use(study: optuna.Study, k: int) -> FoldersInUse:
    """Return the checkpoint folders of the ``k`` best trials and of all that are not finished."""
    trials = study.get_trials(deepcopy=False)
    unfinished = [trial for trial in trials if not trial.state.is_finished()]
    return FoldersInUse(_folders(_ranked(trials, study.direction)[:k]), _folders(unfinished))


def folder_of(number: int, user_attrs: Mapping[str, Any]) -> str:
    """Return the checkpoint folder of a trial, relative to the study's.

    Parameters
    ----------
    number : int
        The trial's number.
    user_attrs : mapping
        Its attributes; a continuation has its predecessor's folder among them.
    """
    return str(user_attrs.get("checkpoint", f"trials/{number:05d}"))


def _folders(trials: Iterable[FrozenTrial]) -> frozenset[str]:
    # Also of a trial that has not said yet where it is: the database may be away just then.
    return frozenset(folder_of(trial.number, trial.user_attrs) for trial in trials)


def epochs_trained(study: optuna.Study) -> int:
    """Return the epochs that all trials trained, each link of a chain with its own only."""
    return sum(_own_epochs(trial) for trial in study.get_trials(deepcopy=False))


def _ranked(trials: Iterable[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    return sorted(complete, key=lambda trial: (sign * _value(trial), trial.number))


def _value(trial: FrozenTrial) -> float:
    return float("nan") if trial.value is None else trial.value


def _first_of_each(ranked: list[FrozenTrial]) -> list[FrozenTrial]:
    chosen: list[FrozenTrial] = []
    for trial in ranked:
        if all(trial.params != other.params for other in chosen):
            chosen.append(trial)
    return chosen


def _own_epochs(trial: FrozenTrial) -> int:
    first = int(trial.user_attrs.get("first_epoch", 1))
    return max(0, _last_epoch(trial) - first + 1)


def _last_epoch(trial: FrozenTrial) -> int:
    epochs = trial.user_attrs.get("epochs")
    return int(trial.last_step or 0) if epochs is None else int(epochs)


def _record(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        value=trial.value,
        params=trial.params,
        epochs=_last_epoch(trial),
        best_epoch=attributes.get("best_epoch"),
        head=attributes.get("head"),
        seed=attributes.get("seed"),
        stop_reason=attributes.get("stop_reason"),
        metrics=attributes.get("metrics", {}),
        checkpoint=attributes.get("checkpoint"),
        continues=attributes.get("continues"),
        continued_by=attributes.get("continued_by"),
        retry=attributes.get("retry", 0),
        bracket=attributes.get("bracket"),
        error=attributes.get("error"),
        started=_utc(trial.datetime_start),
        ended=_utc(trial.datetime_complete),
    )


def _utc(local: datetime | None) -> datetime | None:
    """Return a time that Optuna gives, which is local and does not say so, in UTC."""
    return None if local is None else local.astimezone(UTC)
