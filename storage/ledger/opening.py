"""Open the database of a ledger, and make its tables once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, delete, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.configs.secrets import has_masked, mask_url
from chemprop_hpo.storage.engines import new_engine, said_by
from chemprop_hpo.storage.ledger.tables import LEDGER_VERSION, ledger_meta, ledger_metadata
from chemprop_hpo.storage.locations import is_sqlite, parse_url
from chemprop_hpo.storage.locks import exclusive

__all__ = ["clear_errors", "open_engine"]

_MLFLOWS = "registered_models"
_NAME_ANOTHER = "name another database with promotion.ledger, as sqlite:///FILE.db"


def open_engine(url: str, *, create: bool) -> tuple[Engine | None, str]:
    """Return an engine for a ledger, and the URL without its password.

    Where its tables are missing they are made, or there is no engine.

    A file of SQLite keeps its rollback journal: with a write-ahead log a power cut may take the
    last commits, and an intent must be there before an alias moves.

    Raises
    ------
    StorageError
        See `open_ledger`.
    """
    parsed, masked = _parse(url), mask_url(url)
    if not create and _lacks_its_file(parsed):
        return None, masked
    engine = new_engine(parsed)
    with clear_errors(parsed, masked):
        version = _version(engine, masked)
        if version is None and not create:
            return None, masked
        if create and (version is None or version < LEDGER_VERSION):
            _make_tables(engine, masked)
    return engine, masked


@contextmanager
def clear_errors(url: URL, masked: str) -> Iterator[None]:
    """Say what a database answers in one line that holds no password.

    Raises
    ------
    StorageError
        In place of what SQLAlchemy raised.
    """
    try:
        yield
    except SQLAlchemyError as error:
        advice = _NAME_ANOTHER if is_sqlite(url) else "start the server or correct promotion.ledger"
        # Not chained: a traceback would show the driver's own words.
        raise StorageError(
            f"the ledger {masked} cannot be used: {said_by(error, url)}; {advice}"
        ) from None


def _parse(url: str) -> URL:
    if has_masked(url):
        raise StorageError(f"promotion.ledger: {url}: the password was masked; give it again")
    try:
        return parse_url(url)
    except StorageError as error:
        raise StorageError(f"promotion.ledger: {error}") from None


def _lacks_its_file(url: URL) -> bool:
    # To look into a file of SQLite that is not there makes it.
    return is_sqlite(url) and not Path(str(url.database)).exists()


def _version(engine: Engine, masked: str) -> int | None:
    """Return the version of the tables, None if there are none."""
    with engine.connect() as connection:
        names = set(inspect(connection).get_table_names())
        if _MLFLOWS in names:
            raise StorageError(f"{masked} is MLflow's own database; {_NAME_ANOTHER}")
        if ledger_meta.name not in names:
            return None
        version = connection.execute(select(ledger_meta.c.version)).scalar()
    if version is not None and version > LEDGER_VERSION:
        raise StorageError(
            f"the ledger {masked} was written by a newer chemprop-hpo (tables {version}, known up "
            f"to {LEDGER_VERSION}); upgrade with: pip install -U chemprop-hpo"
        )
    return version


def _make_tables(engine: Engine, masked: str) -> None:
    with exclusive(engine, "ledger"):
        if _version(engine, masked) == LEDGER_VERSION:
            return  # another process was quicker
        ledger_metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(delete(ledger_meta))
            connection.execute(insert(ledger_meta).values(version=LEDGER_VERSION))
