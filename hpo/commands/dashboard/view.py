"""A study and its trials as optuna-dashboard shows them: what matters first, with a note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chemprop_hpo.hpo.commands.dashboard.note import study_note

if TYPE_CHECKING:
    from chemprop_hpo.storage.database import Database

__all__ = ["show_best_side"]

# As optuna-dashboard writes them, so that a note which a person writes comes in their place.
NOTE_VERSION, NOTE_TEXT = "dashboard:note_ver", "dashboard:note_str:0"
METRIC_NAMES = "study:metric_names"
FIRST = ("stop_reason", "head", "best_epoch", "epochs")


def show_best_side(database: Database, place: str) -> Any:
    """Return the storage of a database, which from now on reads as the dashboard shows it.

    Nothing is written: in the study, a note would be stale by the next trial.
    """
    storage: Any = database.storage
    # optuna-dashboard takes nothing but a storage of Optuna's, and asks these.
    studies, trials, best = storage.get_all_studies, storage.get_all_trials, storage.get_best_trial
    storage.get_all_studies = lambda: [_shown_study(study, place, best) for study in studies()]
    storage.get_all_trials = lambda *args, **more: [_shown_trial(t) for t in trials(*args, **more)]
    storage.get_best_trial = lambda study_id: _shown_trial(best(study_id))
    return storage


def _shown_study(study: Any, place: str, best: Any) -> Any:
    from chemprop_hpo.storage.records import is_newer, record_of

    record = None if is_newer(study.user_attrs) else record_of(study)
    if record is None:  # another program's
        return study
    study.system_attrs.setdefault(METRIC_NAMES, [record.metric])
    if NOTE_VERSION not in study.system_attrs:
        text = study_note(
            study.study_name,
            record.config,
            _best_of(study, best),
            storage=place,
            metric=record.metric,
            mode=record.mode,
        )
        study.system_attrs |= {NOTE_VERSION: 0, NOTE_TEXT: text}
    study.user_attrs = _short_first(study.user_attrs.items())
    return study


def _best_of(study: Any, best: Any) -> Any:
    try:
        return best(study._study_id)
    except ValueError:  # none is complete
        return None


def _shown_trial(trial: Any) -> Any:
    said = trial.user_attrs
    first = {name: said[name] for name in FIRST if name in said}
    figures = _figures(said.get("metrics") or {})
    rest = _short_first((k, v) for k, v in said.items() if k not in first)
    trial.user_attrs = {**first, **figures, **rest}
    return trial


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics over all targets: columns that a table of trials can be sorted by."""
    whole = {name: value for name, value in metrics.items() if "/" not in name}
    kept = {n: v for n, v in whole.items() if n.startswith("val_") or n == "generalisation_gap"}
    return {n: float(f"{v:.4g}") if isinstance(v, float) else v for n, v in kept.items()}


def _short_first(attributes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return dict(sorted(attributes, key=lambda item: len(str(item[1]))))
