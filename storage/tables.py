"""The package's own tables, beside Optuna's in the same database."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    column,
    table,
)

__all__ = [
    "TABLES_VERSION",
    "continuations",
    "drivers",
    "meta",
    "metadata",
    "optuna_trials",
    "pending",
    "slots",
]

TABLES_VERSION = 1
"""Raised with every change of the tables below."""

_NAME_LENGTH = 512

metadata = MetaData()

meta = Table("chemprop_hpo_meta", metadata, Column("version", Integer, primary_key=True))

# A study is created in several steps; its name stands here until the last of them.
pending = Table(
    "chemprop_hpo_pending", metadata, Column("study_name", String(_NAME_LENGTH), primary_key=True)
)

drivers = Table(
    "chemprop_hpo_drivers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("host", String(255), nullable=False),
    Column("boot_id", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("beat_at", Double, nullable=False),
    Column("left_at", Double),
)

slots = Table(
    "chemprop_hpo_slots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("driver_id", String(32), nullable=False),
    UniqueConstraint("study_id", "slot"),
)

continuations = Table(
    "chemprop_hpo_continuations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False),
    Column("continues", Integer, nullable=False),
    Column("continued_by", Integer),
    Column("driver_id", String(32), nullable=False),
    Column("stop_reason", String(32), nullable=False),
    UniqueConstraint("study_id", "continues"),
)

# Optuna's table, as far as counting needs it: loading every trial of a large study takes minutes.
optuna_trials = table(
    "trials",
    column("study_id", Integer),
    column("state", String),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)
