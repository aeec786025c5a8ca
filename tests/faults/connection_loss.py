"""Take the database away from a process at its n-th step in it, for a moment."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import Pool

__all__ = ["ConnectionLoss"]

GONE_S = 10.0
POLL_S = 0.02


class ConnectionLoss:
    """Counts the steps that this process takes in a database, and fails one of them.

    On PostgreSQL the server ends all connections of this process. On SQLite another process
    holds the lock for longer than anyone waits.

    Parameters
    ----------
    step : int or None
        The step that fails, counted from 1; None to only count.
    after_commit : bool
        Count commits only, and let the commit succeed: only the answer to it is lost. Without
        it statements and commits are counted, and the one that fails has no effect.
    """

    def __init__(self, step: int | None, *, after_commit: bool = False) -> None:
        self.taken = 0
        self._step = step
        self._after_commit = after_commit
        self._lock = threading.Lock()
        self._connections: list[Any] = []
        self._execute: Any = DefaultDialect.do_execute
        self._commit: Any = DefaultDialect.do_commit
        event.listen(Pool, "connect", lambda connection, record: self._note(connection))
        DefaultDialect.do_execute = self._in_place_of_execute()  # type: ignore[method-assign]
        DefaultDialect.do_commit = self._in_place_of_commit()  # type: ignore[method-assign]

    def _note(self, connection: Any) -> None:
        self._connections.append(connection)

    def _in_place_of_execute(self) -> Any:
        def do_execute(dialect: Any, cursor: Any, *arguments: Any, **options: Any) -> Any:
            if not self._after_commit and self._is_due():
                self._lose()
            return self._execute(dialect, cursor, *arguments, **options)

        return do_execute

    def _in_place_of_commit(self) -> Any:
        def do_commit(dialect: Any, connection: Any) -> None:
            is_due = self._is_due()
            if is_due and not self._after_commit:
                self._lose()
            self._commit(dialect, connection)
            if is_due and self._after_commit:
                self._lose()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        return do_commit

    def _is_due(self) -> bool:
        with self._lock:
            self.taken += 1
            return self.taken == self._step

    def _lose(self) -> None:
        if any(isinstance(one, sqlite3.Connection) for one in self._connections):
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        _end([one for one in self._connections if not one.closed])


def _end(connections: list[Any]) -> None:
    """Let the server end connections, and wait until they are gone."""
    pids = [connection.info.backend_pid for connection in connections]
    dsn, password = connections[0].info.dsn, connections[0].info.password
    with psycopg.connect(dsn, password=password or None, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids])
        deadline = time.monotonic() + GONE_S
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        while other.execute(query, [pids]).fetchone() != (0,):
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not end its connections")
            time.sleep(POLL_S)
