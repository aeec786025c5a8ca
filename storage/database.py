"""Open the database that holds the studies: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Engine, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.storage.engines import database_time, new_engine, said_by
from chemprop_hpo.storage.locations import is_sqlite, parse_url, prefer_wal
from chemprop_hpo.storage.locks import exclusive
from chemprop_hpo.storage.optuna_storage import OptunaStorage
from chemprop_hpo.storage.outages import is_full, is_outage
from chemprop_hpo.storage.tables import TABLES_VERSION, meta, metadata
from chemprop_hpo.storage.versions import check_optuna_version, check_versions, tables_version

__all__ = ["Database", "open_database", "open_if_ready"]


class Database:
    """An open database: Optuna's storage and an engine for the package's own tables.

    It shows no password and is not pickled: another process opens its own.

    Attributes
    ----------
    storage : RDBStorage
        For Optuna. Use one per process.
    masked_url : str
        The URL as it was given, with the password masked.
    """

    def __init__(self, storage: OptunaStorage, masked_url: str) -> None:
        self.storage = storage
        self.masked_url = masked_url
        self._back_at = 0.0

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, shared with Optuna."""
        return self.storage.engine

    def now(self) -> float:
        """Return the time in seconds since 1970 by the clock that all drivers share."""
        return database_time(self.engine)

    def up_since(self) -> float:
        """Return since when the database can be used, as far as is known, by the same clock."""
        if is_sqlite(self.engine.url):
            return self._back_at
        with self.engine.connect() as connection:
            query = text("SELECT extract(epoch FROM pg_postmaster_start_time())::float8")
            return max(self._back_at, float(connection.execute(query).scalar_one()))

    def note_return(self) -> None:
        """Remember that the database was away for this process, and is back."""
        self._back_at = self.now()

    def study_id(self, study: optuna.Study) -> int:
        """Return the number under which the study's rows are kept."""
        return self.storage.get_study_id_from_name(study.study_name)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the lock under which studies are created and deleted."""
        return exclusive(self.engine)

    def upgrade(self) -> None:
        """Make the tables that an older version of this program did not know.

        Commands that only read leave them out, and work all the same.

        Raises
        ------
        StorageError
            This user may not make tables.
        """
        if tables_version(self.engine) == TABLES_VERSION:
            return
        try:
            self._make_missing_tables()
        except DBAPIError as error:
            if is_outage(error) or is_full(error):
                raise
            raise StorageError(
                f"{self.masked_url} lacks tables of this version, and they cannot be made: "
                f"{_reason(error, self.engine.url)}; let the owner of its tables run one "
                "chemprop-hpo sweep, resume or ensembles"
            ) from None

    def _make_missing_tables(self) -> None:
        with self.exclusive():
            metadata.create_all(self.engine)
            with self.engine.begin() as connection:
                older = update(meta).where(meta.c.version < TABLES_VERSION)
                connection.execute(older.values(version=TABLES_VERSION))

    def close(self) -> None:
        """Close all connections of this process."""
        self.storage.remove_session()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.masked_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled: its URL may hold a password")


def open_database(url: str, *, create: bool = True) -> Database:
    """Open the database at ``url``, and create its tables where they are missing.

    One that an older version made gets the tables which that one did not know. Any number of
    processes may do so at the same moment.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE.db`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    create : bool
        False for commands that only read: a missing database is then an error, and no file
        is left behind.

    Raises
    ------
    StorageError
        The URL is wrong, the database cannot be reached, is missing, or was made by another
        program or a newer version.
    """
    parsed, masked = parse_url(url), mask_url(url)
    _refuse_missing_file(parsed, masked, create)
    with _clear_errors(parsed, masked):
        content = _look_into(parsed)
        if not content.is_ready:
            _refuse_unready(masked, content, create)
            _create_tables(parsed, masked)
        db = Database(OptunaStorage(parsed, create=False), masked)
        try:
            check_versions(db.storage, masked)
            if create:
                db.upgrade()
        except BaseException:
            db.close()
            raise
    return db


def open_if_ready(url: str) -> Database | None:
    """Open a database that holds the tables already; make nothing.

    Returns
    -------
    Database or None
        None where a sweep would first create the database or its tables.

    Raises
    ------
    StorageError
        As from `open_database`.
    """
    parsed, masked = parse_url(url), mask_url(url)
    if is_sqlite(parsed) and not Path(str(parsed.database)).exists():
        return None
    with _clear_errors(parsed, masked):
        content = _look_into(parsed)
        if not content.is_ready:
            _refuse_unready(masked, content, create=True)
            return None
    return open_database(url, create=False)


@dataclass(frozen=True)
class _Content:
    """What a database holds: our tables' version, and whose tables stand beside them."""

    version: int | None
    has_optuna: bool
    has_migrations: bool

    @property
    def is_ready(self) -> bool:
        return self.version is not None


def _refuse_missing_file(url: URL, masked: str, create: bool) -> None:
    if not create and is_sqlite(url) and not Path(str(url.database)).exists():
        raise StorageError(
            f"{masked}: there is no such file, so it holds no study; start one with: "
            "chemprop-hpo sweep FILE, or name another with --storage"
        )


def _look_into(url: URL) -> _Content:
    engine = new_engine(url)
    try:
        with engine.connect() as connection:
            names = set(inspect(connection).get_table_names())
            ours = select(meta.c.version).order_by(meta.c.version.desc())
            version = connection.execute(ours).scalar() if meta.name in names else None
    finally:
        engine.dispose()
    return _Content(version, "studies" in names, "alembic_version" in names)


def _refuse_unready(masked: str, content: _Content, create: bool) -> None:
    # Optuna and MLflow both keep their migrations in a table of this name.
    if content.has_migrations and not content.has_optuna:
        raise StorageError(
            f"{masked} is the database of another program, MLflow perhaps; "
            "name a database of its own for the studies"
        )
    if not create:
        raise StorageError(
            f"{masked} holds no study of this program; start one with: chemprop-hpo sweep FILE, "
            "or name another with --storage"
        )


def _create_tables(url: URL, masked: str) -> None:
    engine = new_engine(url)
    try:
        with exclusive(engine):
            content = _look_into(url)
            if not content.is_ready:
                prefer_wal(url)
                _create_optuna_tables(url, masked, content)
                _create_own_tables(engine)
    finally:
        engine.dispose()


def _create_optuna_tables(url: URL, masked: str, content: _Content) -> None:
    # Its migrations table comes last: where it stands, Optuna was here and nothing is missing.
    storage = OptunaStorage(url, create=not content.has_migrations)
    try:
        check_optuna_version(storage, masked)
    finally:
        storage.engine.dispose()


def _create_own_tables(engine: Engine) -> None:
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(meta).values(version=TABLES_VERSION))


@contextmanager
def _clear_errors(url: URL, masked: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        # Not chained: a traceback would show the driver's own words.
        raise StorageError(
            f"{masked} cannot be used: {_reason(error, url)}; {_advice(url)}"
        ) from None


def _advice(url: URL) -> str:
    if is_sqlite(url):
        return "name another file with --storage sqlite:///FILE.db"
    return "start the server or correct the URL (--storage)"


def _reason(error: BaseException, url: URL) -> str:
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return said_by(error, url)
