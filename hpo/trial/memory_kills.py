"""Let a sweep survive that Ray kills a worker because the machine is running low on memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

from chemprop_hpo.hpo.trial.replaced import replaced

__all__ = ["memory_kills_as_deaths"]

PLACES = ("_actor_start_failed", "_actor_task_failed")


@contextmanager
def memory_kills_as_deaths() -> Iterator[None]:
    """While entered, Tune takes a worker that Ray's memory monitor killed for one that died.

    Tune (2.60) tells a worker's death by its class. What the memory monitor does has another
    class, and where it meets a worker in the midst of a step it comes out of ``Tuner.fit`` and
    ends the whole sweep, be there retries left or not.
    """
    told = {name: _told_as_death(getattr(RayActorManager, name)) for name in PLACES}
    with replaced(RayActorManager, **told):
        yield


def _told_as_death(method: Any) -> Any:
    def told(manager: RayActorManager, *, exception: Exception, **which: Any) -> None:
        if isinstance(exception, OutOfMemoryError):
            # Its first line says how much memory was used; a list of processes and much advice
            # about Ray follow.
            exception = RayActorError(error_msg=str(exception).split("\n", 1)[0])
        method(manager, exception=exception, **which)

    return told
