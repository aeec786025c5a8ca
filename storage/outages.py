"""Tell a database that is away or full from one that was asked something wrong."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

__all__ = ["is_full", "is_outage", "patiently", "unless_away"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_TRY_EVERY_S = 1.0

_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES_AWAY = {
    "25P03",  # idle_in_transaction_session_timeout: this machine slept
    "25006",  # read_only_sql_transaction: a standby answers until it has taken over
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53200",  # out_of_memory
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
}
_POSTGRES_CONNECTION = "08"
_POSTGRES_FULL = "53100"


def is_outage(error: BaseException) -> bool:
    """Whether the database cannot be reached or is locked now, so that it may work later.

    Parameters
    ----------
    error : BaseException
        From SQLAlchemy or a driver, or Optuna's ``StorageInternalError`` around it.
    """
    return not is_full(error) and any(_says_away(cause) for cause in _causes(error))


def is_full(error: BaseException) -> bool:
    """Whether there is no room left where the database is, or where a file was to be written.

    Parameters
    ----------
    error : BaseException
        As for `is_outage`, or an ``OSError``.
    """
    return any(_says_full(cause) for cause in _causes(error))


def patiently(
    step: Callable[[], _T], limit_s: float, *, is_enough: Callable[[], bool] = lambda: False
) -> _T:
    """Take a step, again and again while the database is away, and return what it gives.

    Parameters
    ----------
    step : callable
        May be taken twice where the database went away in its midst.
    limit_s : float
        How long to wait for the database; then its error is raised as it is.
    is_enough : callable
        Whether to wait no longer.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return step()
        except Exception as error:
            if is_enough() or time.monotonic() > deadline or not is_outage(error):
                raise
            log.debug("tried again, since the database is away: %s", error)
            time.sleep(_TRY_EVERY_S)


@contextmanager
def unless_away() -> Iterator[None]:
    """Leave a step out where the database is away or full; what is stored stays right."""
    try:
        yield
    except Exception as error:
        if not (is_outage(error) or is_full(error)):
            raise
        log.debug("left out, since the database is away: %s", error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _says_away(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) in _SQLITE_AWAY
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _postgres_away(error)
    # All connections are in use, which they are for long only if the server does not answer; or
    # Optuna has read on in a session whose connection broke in the midst of a longer read.
    return isinstance(error, PoolTimeoutError | PendingRollbackError)


def _says_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return _sqlite_code(error) == sqlite3.SQLITE_FULL
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlstate", None) == _POSTGRES_FULL


def _sqlite_code(error: sqlite3.Error) -> int | None:
    """Return the kind of error; the bits above it say more than is asked."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _postgres_away(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return False
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:  # no server has spoken: there is no connection
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(_POSTGRES_CONNECTION) or state in _POSTGRES_AWAY
