"""Remember every move of a registry's aliases, and let no two promoters both win."""

from __future__ import annotations

from chemprop_hpo.storage.ledger.ledger import (
    Ledger,
    ReadAlias,
    WriteAlias,
    open_ledger,
)
from chemprop_hpo.storage.ledger.records import Intent, Move, Reconciled, RegisteredModel

__all__ = [
    "Intent",
    "Ledger",
    "Move",
    "ReadAlias",
    "Reconciled",
    "RegisteredModel",
    "WriteAlias",
    "open_ledger",
]
