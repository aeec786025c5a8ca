"""What a study says of its trials, as runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chemprop_hpo.hpo.tracking.plan_names import validation_figures
from chemprop_hpo.hpo.tracking.wanted import (
    BEST_SO_FAR,
    WantedRun,
    best_figures,
    finite,
    milliseconds,
    status_of,
)
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import TrialRecord, trial_records

__all__ = ["wanted_trials"]

_FINISHED = frozenset({"COMPLETE", "PRUNED", "FAIL"})


def wanted_trials(study: Study, is_gone: Callable[[str], bool]) -> list[WantedRun]:
    """Return the runs of the trials that nobody works on or is about to log.

    Parameters
    ----------
    study : Study
    is_gone : callable
        Whether the driver of that id is dead; a driver that lives logs its own trials.
    """
    trials = study.get_trials(deepcopy=False)
    pairs = zip(trials, trial_records(study), strict=False)
    return [
        _wanted(study.study_name, record, dict(trial.intermediate_values))
        for trial, record in pairs
        if record.seed is not None  # it was begun
        and record.state in {*_FINISHED, "RUNNING"}
        and is_gone(str(trial.user_attrs.get("driver")))
    ]


def _wanted(study: str, record: TrialRecord, curve: dict[int, float]) -> WantedRun:
    is_finished = record.state in _FINISHED
    reason = record.stop_reason if is_finished else "orphaned"
    last = max(curve, default=None)
    value = record.value if last is None or record.value is not None else curve[last]
    metrics = finite(record.metrics)
    ended = record.ended or record.started
    return WantedRun(
        name=f"trial {record.number}",
        kind="trial",
        mark=str(record.number),
        params={**record.params, "seed": record.seed},
        tags={"study": study, **_tags(record, reason, is_finished=is_finished)},
        status=status_of(record.state if is_finished else "FAIL", reason),
        started=milliseconds(record.started),
        ended=milliseconds(ended),
        curve={epoch: {BEST_SO_FAR: best} for epoch, best in curve.items()},
        figures=finite(best_figures(metrics, value)),
        if_absent=validation_figures(metrics),
        step=record.best_epoch or record.epochs,
    )


def _tags(record: TrialRecord, reason: str | None, *, is_finished: bool) -> dict[str, Any]:
    return {
        "head": record.head,
        "state": record.state if is_finished else None,
        "stop_reason": reason,
        "best_epoch": record.best_epoch,
        "epochs": record.epochs,
        "error": record.error,
        "continues": record.continues,
        "continued_by": record.continued_by,
    }
