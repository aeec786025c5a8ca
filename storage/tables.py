"""The package's own tables, beside Optuna's in the same database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    column,
    table,
)

__all__ = [
    "TABLES_VERSION",
    "continuations",
    "drivers",
    "ensembles",
    "members",
    "meta",
    "metadata",
    "optuna_trials",
    "pending",
    "slots",
]

TABLES_VERSION = 2
"""Raised with every change of the tables below: 2 brought members and ensembles."""

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

members = Table(
    "chemprop_hpo_members",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("split", Integer, nullable=False),
    Column("fold", Integer, nullable=False),
    Column("cut", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("folder", String(_NAME_LENGTH), nullable=False),
    Column("state", String(16), nullable=False),
    Column("driver_id", String(32)),
    Column("epoch", Integer, nullable=False),
    Column("max_epochs", Integer, nullable=False),
    Column("best_epoch", Integer),
    Column("value", Double),
    Column("curve", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("stop_reason", String(32)),
    Column("error", Text),
    Column("retries", Integer, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    UniqueConstraint("study_id", "trial", "cut", "split", "fold"),
)

ensembles = Table(
    "chemprop_hpo_ensembles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("folder", Text, nullable=False),
    Column("record", JSON, nullable=False),
)

# Optuna's table, as far as counting needs it: loading every trial of a large study takes minutes.
optuna_trials = table(
    "trials",
    column("study_id", Integer),
    column("state", String),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)
