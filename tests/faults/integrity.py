"""Ask a database whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from chemprop_hpo.storage.locations import engine_options, is_sqlite, parse_url

__all__ = ["integrity_violations"]


def integrity_violations(url: str) -> list[str]:
    """Check every page, row and index of the database; return what is wrong."""
    parsed = parse_url(url)
    check = _sqlite if is_sqlite(parsed) else _postgres
    engine = create_engine(parsed, poolclass=NullPool, **engine_options(parsed))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return list(check(connection))
    except SQLAlchemyError as error:
        return [f"the database fails its integrity check: {error}"]
    finally:
        engine.dispose()


def _sqlite(connection: Connection) -> Iterator[str]:
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"the database fails its integrity check: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"the database holds a row without its parent: {tuple(row)}"


def _postgres(connection: Connection) -> Iterator[str]:
    """Read every value of every table, then build every index anew, which finds doubles.

    The extension amcheck, which would compare indexes with tables, is not in every package.
    """
    for name in inspect(connection).get_table_names():
        connection.execute(text(f'SELECT sum(hashtext(t::text)::bigint) FROM "{name}" t'))
    database = connection.execute(text("SELECT current_database()")).scalar_one()
    connection.execute(text(f'REINDEX DATABASE "{database}"'))
    yield from ()
