"""What optuna-dashboard says of a study beside its own pictures: a note in Markdown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.commands.next_steps import command_on
from chemprop_hpo.hpo.commands.trial_tables import direction_words, number

__all__ = ["mlflow_line", "study_note"]

MLFLOW_UI = "CHEMPROP_HPO_MLFLOW_UI"
"""Where a browser finds the server of MLflow, if not under the address that the sweep used."""

ATTRIBUTES = {
    "stop_reason": "why the trial ended: `max_t` (trained to the end), `early_stopping`, `asha` "
    "(stopped at a rung), `error`, `nan`, `oom`, `interrupted`, `orphaned`, `time_budget`",
    "head": "the network that reads the molecule's vector",
    "best_epoch": "the epoch of the value shown; epochs count from 1",
    "epochs": "epochs trained, with those of the trials that it goes on with",
    "val_..., generalisation_gap": "metrics at the best epoch, over all targets; errors are in the "
    "units of the labels, and the gap is validation minus training error",
    "metrics": "the same for each target, and of the training molecules",
    "continues, continued_by": "the links of a chain: one piece of work that was interrupted",
    "seed, driver": "what it was trained with, and the process that ran it",
}


def study_note(
    name: str, config: Mapping[str, Any], best: Any, *, storage: str, metric: str, mode: str
) -> str:
    """Return the note of a study.

    Parameters
    ----------
    name : str
        The study.
    config : mapping
        Its configuration as it is stored.
    best : optuna.trial.FrozenTrial or None
        Its best complete trial, if there is one.
    storage : str
        The database's URL without a password.
    metric, mode : str
        What is optimised, and whether ``min`` or ``max`` is best.
    """
    parts = [
        f"## {name}\n\nObjective value: **{metric}** ({direction_words(mode)}). The values drawn "
        "over the epochs are the best so far, which is what stops a trial early. "
        "All of it was measured on validation molecules.",
        _best(best, metric),
        "### What the user attributes of a trial say\n\n"
        + _table(("attribute", "meaning"), ATTRIBUTES.items()),
        f"### Elsewhere\n\n- {mlflow_line(config)}\n- `{command_on('status', name, storage)}`\n"
        f"- `{command_on('top-k', name, storage)}`",
    ]
    return "\n\n".join(parts)


def mlflow_line(config: Mapping[str, Any]) -> str:
    """Return where the runs of a study are to be seen in MLflow."""
    section = config.get("mlflow") or {}
    if not section.get("tracking", True):
        return "its runs were not logged to MLflow (mlflow.tracking is false)"
    uri = mask_url(str(section.get("tracking_uri", "sqlite:///mlflow.db")))
    where = f"experiment {section.get('experiment_name', 'chemprop_hpo')}"
    if uri.startswith(("http://", "https://")):
        uri = mask_url(os.environ.get(MLFLOW_UI) or uri)
        return f"its runs are in MLflow at {uri}, {where}"
    return f"its runs are in MLflow: mlflow ui --backend-store-uri {shlex.quote(uri)}, {where}"


def _best(best: Any, metric: str) -> str:
    if best is None:
        return "### Best\n\nNo trial is complete yet."
    said = best.user_attrs
    head = [f"{name} {said[key]}" for key, name in _WITH_BEST.items() if said.get(key) is not None]
    title = f"### Best: trial {best.number}, {metric} {number(best.value)}"
    detail = f"\n\n{', '.join(head)}." if head else ""
    rows = [(f"`{name}`", f"`{_shown(value)}`") for name, value in best.params.items()]
    return f"{title}{detail}\n\n{_table(('hyperparameter', 'value'), rows)}"


_WITH_BEST = {"head": "head", "best_epoch": "best epoch", "stop_reason": "ended by"}


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _table(heads: tuple[str, str], rows: Any) -> str:
    lines = [" | ".join(heads), "--- | ---", *(f"{left} | {right}" for left, right in rows)]
    return "\n".join(f"| {line} |" for line in lines)
