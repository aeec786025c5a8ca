"""What the database remembers of each member of an ensemble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import optuna
from sqlalchemy import RowMapping, inspect, select

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.tables import members

__all__ = [
    "MemberKey",
    "MemberRecord",
    "NewMember",
    "key_of",
    "read_member",
    "read_members",
    "rows_of",
]


class MemberKey(NamedTuple):
    """What tells a study's members apart; ``cut`` is the fingerprint of the fold's data."""

    trial: int
    split: int
    fold: int
    cut: str


@dataclass(frozen=True)
class NewMember:
    """A member that is to be trained."""

    key: MemberKey
    seed: int
    folder: str
    """Relative to the study's."""
    max_epochs: int


@dataclass(frozen=True)
class MemberRecord:
    """A member as the database remembers it; times are in UTC."""

    id: int
    key: MemberKey
    seed: int
    folder: str
    """Relative to the study's."""
    state: str
    """``waiting``, ``running``, ``complete`` or ``failed``."""
    driver_id: str | None
    """Who trains it, or did so at last."""
    epoch: int
    """The last epoch that was reported; 0 before the first."""
    max_epochs: int
    best_epoch: int | None
    value: float | None
    """The metric of the best epoch."""
    curve: tuple[float | None, ...]
    """The metric of each epoch; None where only a checkpoint knew of the epoch."""
    metrics: Mapping[str, float]
    stop_reason: str | None
    error: str | None
    retries: int
    """How often its worker or driver died since the last new epoch."""
    started: datetime | None
    ended: datetime | None

    @property
    def reason(self) -> str:
        """Why it ended, in one line: what its error says at last, or else how it stopped."""
        lines = (self.error or "").strip().splitlines()
        return lines[-1] if lines else self.stop_reason or "no reason is known"


def read_members(
    db: Database, study: optuna.Study, keys: Iterable[MemberKey] | None = None
) -> list[MemberRecord]:
    """Return the members of a study: those of ``keys`` in their order, or all as they were added.

    Of keys that are not known nothing is returned.
    """
    query = rows_of(study._study_id).order_by(members.c.id)
    with db.engine.connect() as connection:
        if not inspect(connection).has_table(members.name):
            return []  # a database of an older version
        records = {key_of(row): _record(row) for row in connection.execute(query).mappings()}
    wanted = records if keys is None else keys
    return [records[key] for key in wanted if key in records]


def rows_of(study_id: int) -> Any:
    """Return the query for a study's rows."""
    return select(members).where(members.c.study_id == study_id)


def read_member(db: Database, member_id: int) -> MemberRecord | None:
    """Return the member with that id."""
    query = select(members).where(members.c.id == member_id)
    with db.engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _record(row)


def key_of(row: RowMapping) -> MemberKey:
    """Return the key of a row."""
    return MemberKey(row["trial"], row["split"], row["fold"], row["cut"])


def _record(row: RowMapping) -> MemberRecord:
    return MemberRecord(
        id=row["id"],
        key=key_of(row),
        seed=row["seed"],
        folder=row["folder"],
        state=row["state"],
        driver_id=row["driver_id"],
        epoch=row["epoch"],
        max_epochs=row["max_epochs"],
        best_epoch=row["best_epoch"],
        value=row["value"],
        curve=tuple(row["curve"]),
        metrics=row["metrics"],
        stop_reason=row["stop_reason"],
        error=row["error"],
        retries=row["retries"],
        started=_utc(row["started_at"]),
        ended=_utc(row["ended_at"]),
    )


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
