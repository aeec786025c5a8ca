"""Notice that a cluster which this process has joined is gone, without asking it anything."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import psutil
import ray._private.worker

from chemprop_hpo.hpo.trial.ray_processes import ray_counts_as_gone

__all__ = ["KNOCK_S", "Knocking", "watched_cluster"]

KNOCK_S = 5.0
SILENT_S = 20.0


@contextlib.contextmanager
def watched_cluster() -> Iterator[None]:
    """Watch this node's raylet and the cluster's head while entered.

    A head that is back within `SILENT_S` has not been away.
    """
    node: Any = ray._private.worker._global_node
    raylet = _raylet(node.raylet_socket_name)
    host, _, port = node.gcs_address.rpartition(":")
    with (
        Knocking(host.strip("[]"), int(port)) as head,
        ray_counts_as_gone(lambda: head.is_silent or _has_ended(raylet)),
    ):
        yield


class Knocking:
    """Opens a port again and again, in a thread, to see whether anybody is there.

    Parameters
    ----------
    host, port : str, int
        Where.
    every_s : float
        Seconds between two tries.
    silent_s : float
        Seconds without an answer that count.
    """

    def __init__(
        self, host: str, port: int, every_s: float = KNOCK_S, silent_s: float = SILENT_S
    ) -> None:
        self._where = (host, port)
        self._every_s = every_s
        self._silent_s = silent_s
        self._answered_at = time.monotonic()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._knock, name="knocking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()

    @property
    def is_silent(self) -> bool:
        """Whether nobody has answered for long enough to count."""
        return time.monotonic() - self._answered_at > self._silent_s + self._every_s

    def _knock(self) -> None:
        while not self._left.wait(self._every_s):
            with contextlib.suppress(OSError):
                socket.create_connection(self._where, self._every_s).close()
                self._answered_at = time.monotonic()


def _raylet(socket_name: str) -> Any:
    """Return the raylet of this node as a process, or None where it cannot be seen."""
    option = f"--raylet_socket_name={socket_name}"
    for process in psutil.process_iter(["cmdline"]):
        if option in (process.info["cmdline"] or ()):
            return process
    return None


def _has_ended(process: Any) -> bool:
    if process is None:
        return False
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.Error as error:
        return isinstance(error, psutil.NoSuchProcess)
