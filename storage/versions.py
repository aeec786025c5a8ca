"""Know the versions of a database's tables: the package's own, and Optuna's."""

from __future__ import annotations

from sqlalchemy import Engine, select

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage.optuna_storage import OptunaStorage
from chemprop_hpo.storage.tables import TABLES_VERSION, meta

__all__ = ["check_optuna_version", "check_versions", "tables_version"]

_HEAD: list[str] = []


def check_versions(storage: OptunaStorage, masked: str) -> None:
    """Refuse a database whose tables this program, or the installed Optuna, does not know.

    Raises
    ------
    StorageError
        With what to upgrade; ``masked`` is the URL in it.
    """
    version = tables_version(storage.engine)
    if version > TABLES_VERSION:
        raise StorageError(
            f"{masked} was written by a newer chemprop-hpo (tables {version}, known up to "
            f"{TABLES_VERSION}); upgrade with: pip install -U chemprop-hpo"
        )
    check_optuna_version(storage, masked)


def tables_version(engine: Engine) -> int:
    """Return the version of the package's own tables."""
    with engine.connect() as connection:
        return int(connection.execute(select(meta.c.version)).scalar_one())


def check_optuna_version(storage: OptunaStorage, masked: str) -> None:
    """Refuse a database whose tables are of another Optuna than the installed one."""
    current = storage.get_current_version()
    if current != _optuna_head(storage):
        raise StorageError(_optuna_version_text(masked, current, storage.get_all_versions()))


def _optuna_head(storage: OptunaStorage) -> str:
    """Return the version that the installed Optuna knows; it reads all its migrations for that."""
    if not _HEAD:
        _HEAD.append(storage.get_head_version())
    return _HEAD[0]


def _optuna_version_text(masked: str, current: str, known: list[str]) -> str:
    if current in known:
        return (
            f"{masked} has the tables of an older Optuna ({current}); back it up, then run: "
            "optuna storage upgrade --storage URL"
        )
    return (
        f"{masked} has the tables of a newer Optuna ({current}); upgrade with: "
        "pip install -U chemprop-hpo"
    )
