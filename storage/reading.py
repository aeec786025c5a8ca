"""Read many trials at once, in a few plain queries: a study may hold a hundred thousand."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    or_,
    select,
    true,
    type_coerce,
)

__all__ = ["Reading", "trials_of_study"]

_MANY = 500
"""More than so many trials are not listed one by one in a query."""

_VALUES_IN_WORDS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

_Rows = dict[int, list[Any]]


def trials_of_study(study_id: int, among: Collection[int], after: int) -> ColumnElement[bool]:
    """Return the condition of a study's trials, listed or made after another.

    Parameters
    ----------
    study_id : int
        The study.
    among : collection of int
        Trials up to ``after`` that are wanted as well.
    after : int
        The id of a trial; -1 for all of the study's.
    """
    trial = models.TrialModel
    wanted: ColumnElement[bool] = trial.trial_id > after
    listed = [one for one in among if one <= after]
    if listed:
        few = len(listed) <= _MANY
        wanted = or_(wanted, trial.trial_id.in_(listed)) if few else trial.trial_id >= min(listed)
    return and_(trial.study_id == study_id, wanted)


class Reading:
    """Rows of some trials, and what they say.

    Rows are read while this is made; `trials` makes objects of them, which takes longer, and is
    for when the transaction has ended: PostgreSQL ends one in which nothing happens.

    Parameters
    ----------
    connection : Connection
        In a transaction or not.
    wanted : ColumnElement
        A condition on Optuna's table of trials; it must hold for the same ones all the time.
    states : container of TrialState, optional
        Those that a trial may be in now; None for all.
    """

    def __init__(
        self,
        connection: Connection,
        wanted: ColumnElement[bool],
        states: Container[TrialState] | None = None,
    ) -> None:
        self._connection = connection
        trial = models.TrialModel
        columns = (
            trial.trial_id,
            trial.number,
            trial.state,
            trial._datetime_start_utc,
            trial._datetime_complete_utc,
        )
        # The states come first: all that belongs to a trial which had ended is there by now.
        query = select(*columns).where(wanted, _is_in(states)).order_by(trial.trial_id)
        self._trials = connection.execute(query).all()
        self._values, self._steps, self._params, self._user_attrs, self._system_attrs = (
            self._rows(wanted, *columns) if self._trials else [] for columns in _columns()
        )

    @property
    def is_empty(self) -> bool:
        """Whether no trial was found."""
        return not self._trials

    def trials(self) -> list[FrozenTrial]:
        """Return the trials in the order of their ids, each as Optuna would read it."""
        parts = _Parts(
            *map(
                _by_trial,
                (self._values, self._steps, self._params, self._user_attrs, self._system_attrs),
            )
        )
        return [parts.trial(*row) for row in self._trials]

    def _rows(self, wanted: ColumnElement[bool], trial_id: Any, *columns: Any) -> Sequence[Any]:
        if len(self._trials) <= _MANY:
            listed = {"trial_ids": [row[0] for row in self._trials]}
            return self._connection.execute(_of_listed(trial_id, *columns), listed).all()
        belongs = trial_id.in_(select(models.TrialModel.trial_id).where(wanted))
        return self._connection.execute(select(trial_id, *columns).where(belongs)).all()


def _is_in(states: Container[TrialState] | None) -> ColumnElement[bool]:
    if states is None:
        return true()
    return models.TrialModel.state.in_([state for state in TrialState if state in states])


@lru_cache
def _columns() -> tuple[tuple[Any, ...], ...]:
    """Return what is read of each table of what belongs to a trial, its id first."""
    value, step, param, user_attr, system_attr = (
        models.TrialValueModel,
        models.TrialIntermediateValueModel,
        models.TrialParamModel,
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
    )
    kind, step_kind = value.value_type, step.intermediate_value_type
    return (
        (value.trial_id, value.objective, value.value, type_coerce(kind, String)),
        (step.trial_id, step.step, step.intermediate_value, type_coerce(step_kind, String)),
        (
            param.trial_id,
            param.param_id,
            param.param_name,
            param.param_value,
            param.distribution_json,
        ),
        (user_attr.trial_id, user_attr.key, user_attr.value_json),
        (system_attr.trial_id, system_attr.key, system_attr.value_json),
    )


@lru_cache
def _of_listed(trial_id: Any, *columns: Any) -> Select[Any]:
    """Return the query of what belongs to the trials ``trial_ids``: to build it takes longest."""
    listed: BindParameter[Any] = bindparam("trial_ids", expanding=True)
    return select(trial_id, *columns).where(trial_id.in_(listed))


def _by_trial(rows: Iterable[Any]) -> _Rows:
    found: _Rows = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


@dataclass(frozen=True)
class _Parts:
    """What belongs to some trials, by their ids."""

    values: _Rows
    steps: _Rows
    params: _Rows
    user_attrs: _Rows
    system_attrs: _Rows

    def trial(
        self,
        trial_id: int,
        number: int,
        state: TrialState,
        started: datetime | None,
        completed: datetime | None,
    ) -> FrozenTrial:
        params, distributions = _params(self.params.get(trial_id, ()))
        values = sorted(self.values.get(trial_id, ()))
        return FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[_number(value, kind) for _, _, value, kind in values] or None,
            datetime_start=_local(started),
            datetime_complete=_local(completed),
            params=params,
            distributions=distributions,
            user_attrs=_attrs(self.user_attrs.get(trial_id, ())),
            system_attrs=_attrs(self.system_attrs.get(trial_id, ())),
            intermediate_values={
                step: _number(value, kind) for _, step, value, kind in self.steps.get(trial_id, ())
            },
            trial_id=trial_id,
        )


def _params(rows: Iterable[Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    params, distributions = {}, {}
    for _, _, name, value, text in sorted(rows):  # as they were asked for
        name = sys.intern(name)
        distributions[name] = asked = _distribution(text)
        params[name] = asked.to_external_repr(value)
    return params, distributions


@lru_cache(maxsize=4096)
def _distribution(text: str) -> BaseDistribution:
    """Return a distribution, one for all trials that were asked the same: nobody changes it."""
    return json_to_distribution(text)


def _attrs(rows: Iterable[Any]) -> dict[str, Any]:
    return {sys.intern(key): json.loads(text) for _, key, text in rows}


def _number(value: float | None, kind: str) -> float:
    return _VALUES_IN_WORDS[kind] if value is None else value


def _local(moment: datetime | None) -> datetime | None:
    """Return a moment as Optuna has it: local, without saying so."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
