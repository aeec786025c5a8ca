"""Check a storage URL, and say how to connect to it."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.configs.secrets import has_masked, mask_url

__all__ = [
    "BUSY_TIMEOUT_S",
    "CONNECT_TIMEOUT_S",
    "LOCK_WAIT_S",
    "engine_options",
    "is_sqlite",
    "parse_url",
    "prefer_wal",
]

BUSY_TIMEOUT_S = 60
"""How long a connection to SQLite waits for another's write."""

CONNECT_TIMEOUT_S = 5
"""How long to wait for one address of a PostgreSQL server; ``localhost`` has two."""

LOCK_WAIT_S = 10.0
"""How long a statement to PostgreSQL waits for what another driver holds, until tried again."""

IDLE_IN_TRANSACTION_S = 30.0
"""How long PostgreSQL lets a driver hold something that says nothing more: its machine sleeps, or
is cut off. Without a limit all other drivers would stand still for hours."""

# A connection whose server's machine is gone fails after 15 s; by default that takes hours.
_POSTGRES_OPTIONS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 6,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_NETWORK_FILESYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "gpfs", "lustre"),
    *("nfs", "nfs4", "smb3", "smbfs"),
}
_FORMS = "sqlite:///FILE.db or postgresql://USER:PASSWORD@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """Return a storage URL in the form that SQLAlchemy takes, with its driver named.

    Raises
    ------
    StorageError
        The URL cannot be read, names another kind of database, or its password was masked.
    """
    _refuse_unreadable(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(f"{mask_url(url)} is no database URL; write {_FORMS}") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_url(parsed)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return _postgres_url(parsed)
    raise StorageError(
        f"{mask_url(url)}: the database must be SQLite or PostgreSQL, not {parsed.drivername}; "
        f"write {_FORMS}"
    )


def is_sqlite(url: URL) -> bool:
    """Whether the URL names a file of SQLite."""
    return url.get_backend_name() == "sqlite"


def engine_options(url: URL) -> dict[str, Any]:
    """Return the keyword arguments with which an engine for ``url`` is created."""
    if is_sqlite(url):
        return {"creator": partial(_connect_sqlite, str(url.database))}
    unsaid = {key: value for key, value in _POSTGRES_OPTIONS.items() if key not in url.query}
    limits = [(_limit_waits, "connect")]
    return {"pool_pre_ping": True, "connect_args": unsaid, "pool_events": limits}


def _limit_waits(connection: Any, _: object = None) -> None:
    """Let no statement of a connection to PostgreSQL wait for ever, nor others for it."""
    idle = "idle_in_transaction_session_timeout"
    try:
        with connection.cursor() as cursor:
            for name, seconds in (("lock_timeout", LOCK_WAIT_S), (idle, IDLE_IN_TRANSACTION_S)):
                cursor.execute(f"SET {name} = '{seconds}s'")
        connection.commit()
    except BaseException:
        connection.close()  # nobody else would
        raise


def _refuse_unreadable(url: str) -> None:
    if has_masked(url):
        raise StorageError(f"{url}: the password was masked; give the URL again with --storage")
    # Part of such a password would be taken for the host, and shown in the driver's message.
    if url.partition("://")[2].count("@") > 1:
        raise StorageError(f"{mask_url(url)}: write an '@' within a user or password as %40")


def _sqlite_url(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise StorageError(
            "sqlite:// without a file would forget everything; write sqlite:///FILE.db"
        )
    if url.query or url.host:
        raise StorageError(f"{mask_url(str(url))}: write sqlite:///FILE.db and nothing more")
    path = Path(url.database).absolute()
    if not path.parent.is_dir():
        raise StorageError(f"{path.parent} is no folder; create it, then it can hold {path.name}")
    if path.is_dir():
        raise StorageError(f"{path} is a folder; name a file in it: sqlite:///{path}/studies.db")
    return url.set(drivername="sqlite", database=str(path))


def _postgres_url(url: URL) -> URL:
    url = url.set(drivername="postgresql+psycopg")
    password = url.query.get("password")
    if isinstance(password, str):
        url = url.difference_update_query(["password"]).set(password=password)
    return url


def prefer_wal(url: URL) -> None:
    """Give a file of SQLite a write-ahead log: readers and writers no longer wait for each other.

    Where that is impossible, as on a network file system, the file keeps its rollback journal.
    """
    if not is_sqlite(url) or _on_network(Path(str(url.database))):
        return
    with contextlib.closing(_connect_sqlite(str(url.database))) as connection:
        _try_wal(connection)


def _try_wal(connection: sqlite3.Connection) -> None:
    # Some file systems refuse it; then the journal stays as it is.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=wal")


def _connect_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            # A power cut may take the last commits, but never leaves a damaged file.
            connection.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _on_network(path: Path) -> bool:
    """Whether other machines may write the file, which a write-ahead log does not survive."""
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    # Later mounts hide earlier ones; the nearest parent counts.
    nearest = next((folder for folder in path.parents if folder in mounts), None)
    return nearest is not None and mounts[nearest] in _NETWORK_FILESYSTEMS
