"""Read out of a study what it searched and what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from chemprop_hpo.configs.parameters import Choice, Fixed, IntRange, LogUniform, Parameter, Uniform
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.section import Value
from chemprop_hpo.configs.space import grid_values, hyperparameters
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial
from chemprop_hpo.hpo.search.importance import Importance, count_top, importances
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import TrialRecord, best_trials, counts

__all__ = ["read_search"]


def read_search(study: Study, config: SweepConfig) -> Search | None:
    """Return what was searched and found; None where nothing was, or no trial is complete.

    Parameters
    ----------
    study : optuna.Study
    config : SweepConfig
        Its own configuration. Ranges are those that it has now: trials of an earlier, wider one
        may lie outside.
    """
    space = {name: p for name, p in config.search_space.items() if _is_searched(p)}
    trials = _complete(study)
    if not space or not trials:
        return None
    found = importances(study, tuple(space), seed=config.seed)
    order = dict.fromkeys((*found.by_name, *space))
    top = count_top(len(trials))
    return Search(
        parameters=tuple(_parameter(n, space[n], found.by_name.get(n)) for n in order),
        trials=tuple(_trial(trial, place < top) for place, trial in enumerate(trials)),
        stopped=found.stopped,
        reason=found.reason,
        metric=config.metric,
        mode=config.mode,
    )


def _is_searched(parameter: Parameter) -> bool:
    listed = grid_values(parameter)
    return listed is None or len(listed) > 1


def _complete(study: Study) -> list[TrialRecord]:
    n = counts(study)["COMPLETE"]
    ranked = best_trials(study, n) if n else []
    return [t for t in ranked if t.value is not None and math.isfinite(t.value)]


def _trial(trial: TrialRecord, top: bool) -> SearchedTrial:
    value = math.nan if trial.value is None else trial.value
    parameters: Mapping[str, Value] = dict(trial.params)
    return SearchedTrial(trial.number, value, parameters, top)


def _parameter(name: str, parameter: Parameter, known: Importance | None) -> SearchedParameter:
    importance, by_chance = (None, None) if known is None else (known.share, known.by_chance)
    condition = parameter.condition or ""
    if isinstance(parameter, Choice | Fixed):
        choices = grid_values(parameter) or ()
        numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
        low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
        return SearchedParameter(
            name,
            choices=choices,
            condition=condition,
            can_be_lower=_may_be(name, _below(low)),
            can_be_higher=_may_be(name, _above(high)),
            importance=importance,
            by_chance=by_chance,
        )
    return SearchedParameter(
        name,
        parameter.low,
        _last(parameter),
        step=None if isinstance(parameter, LogUniform) else parameter.step,
        log=isinstance(parameter, LogUniform),
        condition=condition,
        can_be_lower=_may_be(name, _below(parameter.low)),
        can_be_higher=_may_be(name, _above(parameter.high)),
        importance=importance,
        by_chance=by_chance,
    )


def _last(parameter: Uniform | LogUniform | IntRange) -> float:
    """Return the largest value: the last whole step."""
    listed = grid_values(parameter)
    last = listed[-1] if listed else parameter.high
    return parameter.high if isinstance(last, str) else last


# ----------------------------------------------------------------------------- beyond the ends


def _below(value: float) -> float:
    return value - 1 if isinstance(value, int) else value - abs(value) / 10 if value else -1e-6


def _above(value: float) -> float:
    return value + 1 if isinstance(value, int) else value + abs(value) / 10 if value else 1e-6


def _may_be(name: str, value: float) -> bool:
    """Whether a hyperparameter may have a value, as far as its own field says."""
    field = hyperparameters()[name].model_fields[name]
    kind: Any = field.annotation
    if field.metadata:
        kind = Annotated[(kind, *field.metadata)]
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True
