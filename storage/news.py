"""What trials have reached, written with few statements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialUserAttributeModel,
)
from optuna.trial import TrialState
from sqlalchemy import Insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

__all__ = ["TrialNews", "hold_states", "write_news"]

_Model = type[TrialIntermediateValueModel] | type[TrialUserAttributeModel]


@dataclass(frozen=True)
class TrialNews:
    """What a trial has reached since it was last written of."""

    trial_id: int
    values: Mapping[int, float] = field(default_factory=dict)
    """By step."""
    user_attrs: Mapping[str, Any] = field(default_factory=dict)


def hold_states(session: Session, trial_ids: Iterable[int]) -> dict[int, TrialState]:
    """Return the states of trials, which no other process writes to until the transaction ends.

    Raises
    ------
    KeyError
        One of them is gone.
    """
    wanted = set(trial_ids)
    query = select(TrialModel.trial_id, TrialModel.state).where(TrialModel.trial_id.in_(wanted))
    # In one order, so that no two processes wait for each other.
    held = session.execute(query.order_by(TrialModel.trial_id).with_for_update())
    states = {row.trial_id: row.state for row in held}
    if missing := wanted - states.keys():
        raise KeyError(f"there is no trial with id {min(missing)}")
    return states


def write_news(session: Session, news: Sequence[TrialNews]) -> None:
    """Write news of trials that are held and not finished; what was there is written anew."""
    values: dict[tuple[int, int], float] = {}
    attributes: dict[tuple[int, str], Any] = {}
    for one in news:
        values |= {(one.trial_id, step): value for step, value in one.values.items()}
        attributes |= {(one.trial_id, key): value for key, value in one.user_attrs.items()}
    steps = [_step_row(*place, value) for place, value in values.items()]
    texts = [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for (trial_id, key), value in attributes.items()
    ]
    dialect = session.get_bind().dialect.name
    for model, rows in ((TrialIntermediateValueModel, steps), (TrialUserAttributeModel, texts)):
        if rows:
            session.execute(_upsert(dialect, model), rows)


def _step_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    kept, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(float(value))
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": kept,
        "intermediate_value_type": kind,
    }


@lru_cache
def _upsert(dialect: str, model: _Model) -> Insert:
    table: Any = model.__table__
    names = (
        ("step", ("intermediate_value", "intermediate_value_type"))
        if model is TrialIntermediateValueModel
        else ("key", ("value_json",))
    )
    place, written = names
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=["trial_id", place],
        set_={name: insert.excluded[name] for name in written},
    )
