"""The tables of the ledger, which no study needs and MLflow never sees."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = ["LEDGER_VERSION", "ledger_meta", "ledger_metadata", "moves"]

LEDGER_VERSION = 1
"""Raised with every change of the tables below."""

ledger_metadata = MetaData()

ledger_meta = Table(
    "chemprop_hpo_ledger", ledger_metadata, Column("version", Integer, primary_key=True)
)

moves = Table(
    "chemprop_hpo_moves",
    ledger_metadata,
    Column("id", Integer, primary_key=True),
    Column("registry", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("expected", Text),
    Column("version", Text),
    Column("kind", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("decision", JSON, nullable=False),
    Column("actor", Text, nullable=False),
    # Who is at it; without a pid nobody is.
    Column("host", Text, nullable=False),
    Column("boot_id", String(128), nullable=False),
    Column("pid", Integer),
    Column("pid_started", Double, nullable=False),
    Column("heard_at", Double, nullable=False),
    Column("state", String(16), nullable=False),
    Column("intended_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("note", Text),
    # The swap of compare-and-swap: of two that have read the same history, one is let in.
    UniqueConstraint("registry", "model", "alias", "number"),
)
