"""A small web server for one person, or a few."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from chemprop_hpo.configs.errors import UsageError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["DashboardServer", "listening"]

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Answers each request on a thread of its own; none of them keeps the process alive."""

    daemon_threads = True

    @property
    def address(self) -> str:
        """The URL under which this machine finds it."""
        host, port = str(self.server_address[0]), self.server_port
        host = ANY_ADDRESS.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def listening(application: WSGIApplication, host: str, port: int) -> Iterator[DashboardServer]:
    """Listen while entered; ``serve_forever`` answers.

    Parameters
    ----------
    application : WSGIApplication
        What answers.
    host : str
        An address of this machine.
    port : int
        The port; 0 picks a free one.

    Raises
    ------
    UsageError
        If nothing can listen there.
    """
    kind = _ServerV6 if ":" in host else DashboardServer
    try:
        server = make_server(host, port, application, kind, _SilentHandler)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror or error}; "
            "choose another with --port, 0 for any that is free"
        ) from None
    with server:
        yield server


class _ServerV6(DashboardServer):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page asks again every few seconds."""
