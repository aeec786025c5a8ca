"""Which drivers work on a study, and which of them are dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import optuna
from sqlalchemy import insert, select, update

from chemprop_hpo.configs.errors import UnknownStudyError
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.processes import DEAD_AFTER_S, Process, has_ended, this_process
from chemprop_hpo.storage.tables import drivers

__all__ = [
    "BEAT_EVERY_S",
    "DEAD_AFTER_S",
    "LONGEST_OUTAGE_S",
    "Driver",
    "DriverRow",
    "Roster",
    "all_drivers",
    "is_dead",
    "live_drivers",
]

BEAT_EVERY_S = 10.0
LONGEST_OUTAGE_S = 3600.0
"""After a longer absence of the database no driver is expected to be still there."""


@dataclass(frozen=True)
class DriverRow:
    """What a driver has written about itself; times are seconds since 1970."""

    id: str
    study_id: int
    host: str
    boot_id: str
    pid: int
    pid_started: float
    started_at: float
    beat_at: float
    left_at: float | None


@dataclass(frozen=True)
class Driver:
    """The present process at work on a study, as the others see it."""

    db: Database
    id: str
    study_id: int

    @classmethod
    def register(cls, db: Database, study: optuna.Study) -> Driver:
        """Enter this process as a driver of ``study``; it must beat from now on.

        Raises
        ------
        UnknownStudyError
            Somebody has deleted the study since it was opened.
        """
        with db.exclusive():  # under which studies are deleted
            try:
                driver = cls(db, uuid4().hex, db.study_id(study))
            except KeyError:
                raise UnknownStudyError(f"study '{study.study_name}' was just deleted") from None
            with db.engine.begin() as connection:
                connection.execute(insert(drivers).values(vars(driver._row())))
        return driver

    def _row(self) -> DriverRow:
        now = self.db.now()
        return DriverRow(
            id=self.id,
            study_id=self.study_id,
            **this_process()._asdict(),
            started_at=now,
            beat_at=now,
            left_at=None,
        )

    def beat(self) -> bool:
        """Say that this driver lives; call it every `BEAT_EVERY_S`.

        Returns
        -------
        bool
            False if the study, and this driver with it, was deleted.
        """
        return self._write(beat_at=self.db.now())

    def leave(self) -> None:
        """Say that this driver ends; trials that it leaves running are orphans at once."""
        self._write(left_at=self.db.now())

    def _write(self, **values: float) -> bool:
        with self.db.engine.begin() as connection:
            statement = update(drivers).where(drivers.c.id == self.id).values(values)
            return connection.execute(statement).rowcount == 1


@dataclass(frozen=True)
class Roster:
    """Every driver that ever worked on a study, as they stood at one moment."""

    rows: Mapping[str, DriverRow]
    """By their ids, the oldest first."""
    now: float
    up_since: float

    @classmethod
    def of(cls, db: Database, study: optuna.Study) -> Roster:
        """Read the drivers of ``study``."""
        now, up_since = db.now(), db.up_since()
        query = select(drivers).where(drivers.c.study_id == study._study_id)
        with db.engine.connect() as connection:
            rows = connection.execute(query.order_by(drivers.c.started_at)).mappings()
            return cls({row["id"]: DriverRow(**row) for row in rows}, now, up_since)

    def live(self) -> list[DriverRow]:
        """Return the drivers at work."""
        return [row for row in self.rows.values() if not is_dead(row, self.now, self.up_since)]

    def is_gone(self, driver_id: str) -> bool:
        """Whether a driver is dead, or unknown."""
        row = self.rows.get(driver_id)
        return row is None or is_dead(row, self.now, self.up_since)


def all_drivers(db: Database, study: optuna.Study) -> Mapping[str, DriverRow]:
    """Return every driver that ever worked on ``study``, by its id, the oldest first."""
    return Roster.of(db, study).rows


def live_drivers(db: Database, study: optuna.Study) -> list[DriverRow]:
    """Return the drivers that work on ``study`` now."""
    return Roster.of(db, study).live()


def is_dead(row: DriverRow, now: float, up_since: float = 0.0) -> bool:
    """Whether a driver is gone: it left, its beat is old, or its process ended on this machine.

    Parameters
    ----------
    row : DriverRow
        What it wrote.
    now : float
        The database's time, from `Database.now`.
    up_since : float
        When the database came back, from `Database.up_since`: while it was away nobody could
        beat, so whoever beat until then has time to do so again.
    """
    if row.left_at is not None or now - _heard_of_at(row, up_since) > DEAD_AFTER_S:
        return True
    return has_ended(Process(row.host, row.boot_id, row.pid, row.pid_started))


def _heard_of_at(row: DriverRow, up_since: float) -> float:
    was_at_work = up_since - row.beat_at < LONGEST_OUTAGE_S
    return max(row.beat_at, up_since) if was_at_work else row.beat_at
