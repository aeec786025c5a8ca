"""Write all hyperparameters of a trial in one transaction: a point is there as a whole or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from optuna._typing import JSONSerializable
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.storages._rdb.models import TrialParamModel, TrialSystemAttributeModel
from sqlalchemy import Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from chemprop_hpo.storage.fenced_storage import FencedStorage

__all__ = ["PointStorage"]


@dataclass
class _Point:
    """What a sampler has given one trial so far."""

    params: dict[str, tuple[float, BaseDistribution, BaseDistribution | None]] = field(
        default_factory=dict
    )
    """By name: the value as it is kept, what was asked, and what was asked before."""
    system_attrs: dict[str, JSONSerializable] = field(default_factory=dict)


class PointStorage(FencedStorage):
    """Gathers the hyperparameters of a trial, which Optuna would write one by one."""

    _point: _Point | None = None

    @contextmanager
    def point_of(self, trial_id: int) -> Iterator[None]:
        """Write what the trial is given within, when it is left.

        Only that trial is asked within, and by one thread. An error leaves nothing written:
        open the trial anew before it is asked again.

        Raises
        ------
        UpdateFinishedTrialError
            If it has ended.
        """
        point = self._point = _Point()
        try:
            yield
        finally:
            self._point = None
        with self.transaction() as session:
            row = self.hold_trial(session, trial_id)
            self.check_trial_is_updatable(trial_id, row.state)
            self._write_params(session, trial_id, point)
            for key, value in point.system_attrs.items():
                self._set_trial_attr_without_commit(
                    session, TrialSystemAttributeModel, trial_id, key, value
                )

    def _write_params(self, session: Session, trial_id: int, point: _Point) -> None:
        if any(before is None for _, _, before in point.params.values()):
            # Optuna looks for what other trials of the study were asked.
            for name, given in point.params.items():
                self._set_trial_param_without_commit(session, trial_id, name, *given)
            return
        rows = [_row(trial_id, name, *given) for name, given in point.params.items()]
        if rows:
            # One that is there was written by an earlier try, whose answer was lost.
            session.execute(_insert_absent(self.engine.name), rows)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        if self._point is not None:
            given = param_value_internal, distribution, previous_distribution
            self._point.params[param_name] = given
            return
        super()._set_trial_param(
            trial_id, param_name, param_value_internal, distribution, previous_distribution
        )

    def set_trial_system_attr(self, trial_id: int, key: str, value: JSONSerializable) -> None:
        """See ``BaseStorage``."""
        if self._point is not None:
            self._point.system_attrs[key] = value
            return
        super().set_trial_system_attr(trial_id, key, value)


@lru_cache
def _insert_absent(dialect: str) -> Insert:
    table: Any = TrialParamModel.__table__
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_nothing(index_elements=["trial_id", "param_name"])


def _row(
    trial_id: int,
    name: str,
    value: float,
    asked: BaseDistribution,
    before: BaseDistribution | None,
) -> dict[str, Any]:
    if before is not None:
        check_distribution_compatibility(before, asked)
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": value,
        "distribution_json": distribution_to_json(asked),
    }
