"""Let one process at a time change what a database holds as a whole."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage.locations import BUSY_TIMEOUT_S, LOCK_WAIT_S, is_sqlite

__all__ = ["LockHeldError", "exclusive"]

_POLL_S = 0.02
_LOCK_NOT_AVAILABLE = "55P03"
_ADVISORY_KEYS = {"studies": b"chem_hpo", "ledger": b"chem_led"}
_USUAL_WAIT = text(f"SET lock_timeout = '{LOCK_WAIT_S}s'")


class LockHeldError(StorageError):
    """A lock that another process holds for too long."""


def exclusive(
    engine: Engine, what: Literal["studies", "ledger"] = "studies"
) -> AbstractContextManager[None]:
    """Hold a lock of a database; it goes with the process that held it.

    SQLite has a file beside it for this, PostgreSQL an advisory lock.

    Parameters
    ----------
    engine : Engine
        The database.
    what : {"studies", "ledger"}
        Each has a lock of its own: a move waits for a registry, and a sweep not for it.

    Raises
    ------
    LockHeldError
        Another process held the lock for a minute.
    StorageError
        The file beside SQLite cannot be written.
    """
    if is_sqlite(engine.url):
        return _file_lock(Path(str(engine.url.database)), what)
    return _advisory_lock(engine, int.from_bytes(_ADVISORY_KEYS[what], "big"))


@contextmanager
def _file_lock(database: Path, what: str) -> Iterator[None]:
    suffix = "lock" if what == "studies" else f"{what}.lock"
    path = database.with_name(f".{database.name}.{suffix}")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        _wait_for(handle, path)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, path: Path) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockHeldError(_held(str(path))) from None
            time.sleep(_POLL_S)
        except OSError as error:
            raise StorageError(f"{path} cannot be locked: {error.strerror}") from None


@contextmanager
def _advisory_lock(engine: Engine, key: int) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET lock_timeout = '{BUSY_TIMEOUT_S}s'"))
        _take(connection, key)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
            connection.execute(_USUAL_WAIT)


def _take(connection: Connection, key: int) -> None:
    try:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        connection.execute(_USUAL_WAIT)
        raise LockHeldError(_held(f"the database {connection.engine.url.database}")) from None


def _held(what: str) -> str:
    return f"{what} is locked by another process for {BUSY_TIMEOUT_S} s; end it, then try again"
