"""Which ensembles were made out of a study, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from sqlalchemy import insert, inspect, select

from chemprop_hpo.configs.errors import UnknownStudyError
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.tables import ensembles

__all__ = ["EnsembleRecord", "add_ensemble", "list_ensembles"]


@dataclass(frozen=True)
class EnsembleRecord:
    """A finished ensemble; ``record`` is what its maker wanted to be remembered."""

    id: int
    created: datetime
    """In UTC."""
    folder: str
    record: Mapping[str, Any]


def add_ensemble(db: Database, study: optuna.Study, folder: str, record: Mapping[str, Any]) -> int:
    """Remember a finished ensemble, and return its number.

    Parameters
    ----------
    db, study : Database, optuna.Study
        What it was made out of.
    folder : str
        Where it lies.
    record : mapping
        Can be written as JSON; every number is finite, since PostgreSQL's JSON knows no NaN.

    Raises
    ------
    UnknownStudyError
        Somebody has deleted the study since it was opened.
    """
    db.upgrade()
    try:
        study_id = db.study_id(study)
    except KeyError:
        raise UnknownStudyError(f"study '{study.study_name}' was just deleted") from None
    row = insert(ensembles).values(
        study_id=study_id, created_at=db.now(), folder=folder, record=dict(record)
    )
    with db.engine.begin() as connection:
        key = connection.execute(row).inserted_primary_key
    assert key is not None
    return int(key[0])


def list_ensembles(db: Database, study: optuna.Study) -> list[EnsembleRecord]:
    """Return the ensembles that were made out of a study, the oldest first."""
    query = select(ensembles).where(ensembles.c.study_id == db.study_id(study))
    with db.engine.connect() as connection:
        if not inspect(connection).has_table(ensembles.name):
            return []  # a database of an older version
        rows = connection.execute(query.order_by(ensembles.c.id)).mappings()
        return [
            EnsembleRecord(
                row["id"],
                datetime.fromtimestamp(row["created_at"], UTC),
                row["folder"],
                row["record"],
            )
            for row in rows
        ]
