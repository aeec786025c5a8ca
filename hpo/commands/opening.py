"""Open the study that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chemprop_hpo.hpo.commands.console import note

if TYPE_CHECKING:
    from chemprop_hpo.storage.database import Database
    from chemprop_hpo.storage.studies import StudyRecord

__all__ = ["OpenStudy", "existing_database", "existing_study", "latest"]


@dataclass(frozen=True)
class OpenStudy:
    """A study that exists, with its database and its own record."""

    name: str
    database: Database
    study: Any
    """An ``optuna.Study``; only storage and search import Optuna, so it is not named here."""
    record: StudyRecord

    @property
    def url(self) -> str:
        """The database's URL as a person may type it: its password a reference, or ``***``."""
        from chemprop_hpo.configs.secrets import same_place

        masked = self.database.masked_url
        written = str((self.record.config.get("study") or {}).get("storage", ""))
        return written if same_place(written, masked) else masked


def existing_database(url: str) -> Database:
    """Open a database that must exist already; nothing is created."""
    from chemprop_hpo.storage.database import open_database

    return open_database(url, create=False)


@contextmanager
def existing_study(name: str | None, url: str) -> Iterator[OpenStudy]:
    """Open the study of that name, or the most recent one, which is then named on stderr."""
    from chemprop_hpo.storage.studies import open_study, read_record

    with existing_database(url) as database:
        name = name or latest(database)
        study = open_study(database, name)
        yield OpenStudy(name, database, study, read_record(study))


def latest(database: Database) -> str:
    """Return the name of the most recent study, and say it on stderr."""
    from chemprop_hpo.storage.studies import latest_study

    name = latest_study(database)
    note(f"most recent study: {name}")
    return name
