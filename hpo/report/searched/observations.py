"""Importances, ranges and pictures of a search, ready to be kept with the sweep's run."""

from __future__ import annotations

import json
import math
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.report.drawing import house_style
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter
from chemprop_hpo.hpo.report.searched.pictures import draw_searched
from chemprop_hpo.hpo.report.searched.ranges import choice_counts, top_span
from chemprop_hpo.hpo.report.searched.reading import read_search
from chemprop_hpo.hpo.report.searched.tables import observation
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.storage.studies import Study

__all__ = ["read_observations"]

FOLDER = "search"


def read_observations(study: Study, config: SweepConfig) -> Observations:
    """Return what a study found out about its parameters; nothing is written.

    Parameters
    ----------
    study : optuna.Study
    config : SweepConfig
        Its own configuration.
    """
    search = read_search(study, config)
    if search is None:
        return Observations()
    with house_style():
        pictures = {f"{FOLDER}/{one.file}": one.png for one in draw_searched(search)}
    return Observations(
        metrics={
            f"importance/{parameter.name}": parameter.importance
            for parameter in search.parameters
            if parameter.importance is not None
        },
        files={f"{FOLDER}/parameters.json": _as_json(search), **pictures},
        step=len(search.trials),
    )


def _as_json(search: Search) -> str:
    content = {
        "metric": search.metric,
        "mode": search.mode,
        "complete_trials": len(search.trials),
        "stopped_trials": search.stopped,
        "top_trials": [trial.number for trial in search.top],
        "without_importances": search.reason or None,
        "parameters": [_parameter(search, parameter) for parameter in search.parameters],
    }
    return json.dumps(content, indent=2, allow_nan=False)


def _parameter(search: Search, parameter: SearchedParameter) -> dict[str, Any]:
    counts = choice_counts(search, parameter)
    return {
        "name": parameter.name,
        "condition": parameter.condition or None,
        "searched": list(parameter.choices or (parameter.low, parameter.high)),
        "log": parameter.log,
        "importance": _finite(parameter.importance),
        "importance_by_chance": _finite(parameter.by_chance),
        "top": (
            [{"choice": choice, "top_trials": top, "trials": n} for choice, top, n in counts]
            if parameter.choices
            else top_span(search, parameter)
        ),
        "best": search.trials[0].parameters.get(parameter.name),
        "observation": observation(search, parameter) or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
