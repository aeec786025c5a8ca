"""A registry's aliases in a file: like MLflow's, without history and without compare-and-swap."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

from chemprop_hpo.storage.ledger import Intent, Ledger, RegisteredModel

MODEL = RegisteredModel("sqlite:////srv/mlflow.db", "esol")


class FileRegistry:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_away = False

    def read(self, alias: str) -> int | None:
        """Give a number, as MLflow does with SQLite."""
        return self._all().get(alias)

    def write(self, alias: str, version: str | None) -> None:
        aliases = self._all()
        aliases.pop(alias, None)
        if version is not None:
            aliases[alias] = int(version)
        part = self.path.with_name(uuid4().hex)
        part.write_text(json.dumps(aliases))
        os.replace(part, self.path)

    def _all(self) -> dict[str, int]:
        if self.is_away:
            raise ConnectionError("the registry is away")
        return json.loads(self.path.read_text()) if self.path.exists() else {}


def intent(
    expected: int | str | None, version: int | str | None, alias: str = "champion", **more: object
) -> Intent:
    values = {"model": MODEL, "kind": "promote", "reason": "better by 3 %"} | more
    return Intent(alias=alias, expected=expected, version=version, **values)  # type: ignore[arg-type]


def promote(ledger: Ledger, registry: FileRegistry, expected: int | None, version: int) -> str:
    move = ledger.move(intent(expected, version), read=registry.read, write=registry.write)
    return move.actor


def agree(ledger: Ledger, registry: FileRegistry, alias: str = "champion") -> bool:
    version = registry.read(alias)
    return ledger.current(MODEL, alias) == (None if version is None else str(version))


def states(ledger: Ledger) -> list[str]:
    return [move.state for move in ledger.history(MODEL)]
