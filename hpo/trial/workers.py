"""End the workers of a sweep that is ending, before Tune would."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

import ray
import ray._private.state
import ray._private.worker
from ray.exceptions import RayError

__all__ = ["WorkersEnd"]

EPOCH_S = 6.0
CALL_S = 2.0
STARTING = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING")


class WorkersEnd:
    """Ends workers that have no training yet at once, and the others after a while.

    Tune gives each worker ten seconds or more to stop, those too that still import their
    libraries and have nothing to keep. Enter it around Tune, whose workers are no longer there
    when it is left.

    Parameters
    ----------
    epoch_s : float
        Seconds in which a training can end its epoch and write a checkpoint.
    """

    def __init__(self, epoch_s: float = EPOCH_S) -> None:
        self._epoch_s = epoch_s
        self._left = threading.Event()
        # A thread, since such calls hang where Ray is gone.
        self._thread = threading.Thread(target=self._end, name="end-workers", daemon=True)

    def begin(self) -> None:
        """Begin; the trials must have been settled: for Tune these workers die."""
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        if self._thread.is_alive():
            self._thread.join(CALL_S)

    def _end(self) -> None:
        _kill(STARTING)
        if not self._left.wait(self._epoch_s):
            _kill((*STARTING, "ALIVE"))


def _kill(states: Collection[str]) -> None:
    """Kill this program's workers that are in one of these states, as Ray calls them."""
    if not ray.is_initialized():
        return
    with contextlib.suppress(RayError, RuntimeError, ConnectionError, ValueError):
        job = ray.get_runtime_context().get_job_id()
        worker: Any = ray._private.worker.global_worker
        for actor_id, actor in ray._private.state.actors().items():
            if actor["JobID"] == job and actor["State"] in states:
                worker.core_worker.kill_actor(ray.ActorID(bytes.fromhex(actor_id)), True)
