"""Connect to a database, ask its clock, and tell what it says without its password."""

from __future__ import annotations

import time

from sqlalchemy import URL, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage.locations import engine_options, is_sqlite

__all__ = ["database_time", "new_engine", "said_by"]


def new_engine(url: URL) -> Engine:
    """Return an engine that keeps no connection open: for what is done once in a while.

    Raises
    ------
    StorageError
        The driver of PostgreSQL is not installed.
    """
    try:
        return create_engine(url, poolclass=NullPool, **engine_options(url))
    except ImportError:
        raise StorageError(
            "PostgreSQL needs its driver; install it with: pip install 'chemprop-hpo[postgres]'"
        ) from None


def database_time(engine: Engine) -> float:
    """Return the time in seconds since 1970: the server's, or this machine's for SQLite."""
    if is_sqlite(engine.url):
        return time.time()
    with engine.connect() as connection:
        query = text("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(connection.execute(query).scalar_one())


def said_by(error: BaseException, url: URL) -> str:
    """Return what a database says of an error, in one line and without the password of ``url``."""
    said = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
    return said.replace(url.password, "***") if url.password else said
