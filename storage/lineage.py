"""Tell who works or worked on a study, and which trial goes on with which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.trial import TrialState
from sqlalchemy import select

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import DriverRow, Roster
from chemprop_hpo.storage.tables import continuations

__all__ = ["ContinuationRow", "DriverState", "continuation_rows", "driver_states"]


@dataclass(frozen=True)
class DriverState:
    """A driver and its running trials; times are seconds since 1970 by the database's clock."""

    id: str
    host: str
    pid: int
    started_at: float
    beat_at: float
    left_at: float | None
    state: Literal["alive", "dead", "left"]
    trials: tuple[int, ...]
    """Numbers of the trials that run under its name: orphans, unless it is alive."""


@dataclass(frozen=True)
class ContinuationRow:
    """A trial that was interrupted, and the one that goes on with it."""

    continues: int
    continued_by: int | None
    stop_reason: str
    driver_id: str
    """The driver that saw to it, which of an orphan is not the one that ran it."""


def driver_states(db: Database, study: optuna.Study) -> list[DriverState]:
    """Return every driver that ever worked on ``study``, the oldest first."""
    running = _running(study)
    roster = Roster.of(db, study)
    return [
        DriverState(
            id=row.id,
            host=row.host,
            pid=row.pid,
            started_at=row.started_at,
            beat_at=row.beat_at,
            left_at=row.left_at,
            state=_state(roster, row),
            trials=tuple(running.get(row.id, ())),
        )
        for row in roster.rows.values()
    ]


def continuation_rows(db: Database, study: optuna.Study) -> list[ContinuationRow]:
    """Return the continuations of ``study`` in the order of the trials that they continue."""
    table = continuations.c
    columns = (table.continues, table.continued_by, table.stop_reason, table.driver_id)
    query = select(*columns).where(table.study_id == db.study_id(study)).order_by(table.continues)
    with db.engine.connect() as connection:
        return [ContinuationRow(*row) for row in connection.execute(query)]


def _running(study: optuna.Study) -> dict[str, list[int]]:
    """Return the numbers of the running trials by the id of the driver that signed them."""
    found: dict[str, list[int]] = defaultdict(list)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if "driver" in trial.user_attrs:
            found[trial.user_attrs["driver"]].append(trial.number)
    return found


def _state(roster: Roster, row: DriverRow) -> Literal["alive", "dead", "left"]:
    if row.left_at is not None:
        return "left"
    return "dead" if roster.is_gone(row.id) else "alive"
