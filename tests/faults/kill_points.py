"""Kill a process at its n-th step in the database: a statement, or the commit after some."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from sqlalchemy import Connection, Engine, event

__all__ = ["Steps"]

CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


class Steps:
    """Counts the steps that this process takes in any database, and dies at one of them.

    A kill falls before the statement or the commit, so that the moments are: nothing of a
    transaction was sent, part of it, all of it without the commit, and (before the statement
    that follows) all of it with the commit.

    Parameters
    ----------
    last : int or None
        The step at which the process kills itself, counted from 1; None to only count.
    writes_only : bool
        Count commits of changes only. What the database holds after a kill depends on those
        alone; reads and unfinished transactions leave no trace.
    """

    def __init__(self, last: int | None = None, writes_only: bool = False) -> None:
        self.taken = 0
        self._last = last
        self._writes_only = writes_only
        self._lock = threading.Lock()
        event.listen(Engine, "before_cursor_execute", self._before_statement)
        event.listen(Engine, "commit", self._before_commit)
        event.listen(Engine, "rollback", self._before_rollback)

    def _before_statement(
        self, connection: Connection, cursor: Any, statement: str, *_: Any
    ) -> None:
        if statement.lstrip().upper().startswith(CHANGES):
            connection.info["changed"] = True
        if not self._writes_only:
            self._step()

    def _before_commit(self, connection: Connection) -> None:
        if connection.info.pop("changed", False) or not self._writes_only:
            self._step()

    def _before_rollback(self, connection: Connection) -> None:
        connection.info.pop("changed", None)

    def _step(self) -> None:
        with self._lock:
            self.taken += 1
            if self.taken == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
