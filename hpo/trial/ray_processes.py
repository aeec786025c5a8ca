"""The processes of the Ray that this process has started: apart from it, watched, ended whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psutil

__all__ = [
    "end_members",
    "end_ray",
    "ray_counts_as_gone",
    "ray_is_gone",
    "started_apart",
]

VITAL = ("gcs_server", "raylet")
END_WITHIN_S = 2.0
LOOK_EVERY_S = 0.05

_leaders: list[subprocess.Popen[bytes]] = []
_joined: list[Callable[[], bool]] = []


@contextlib.contextmanager
def started_apart(on_start: Callable[[int], None]) -> Iterator[None]:
    """Let Ray start its processes in sessions of their own.

    A signal to this process's group then does not reach them: workers can still write their
    checkpoints when a batch system or a supervisor ends the whole group. They do not outlive
    this process: the kernel ends those that it has started, and the others end with these.

    Parameters
    ----------
    on_start : callable
        Told the id of each process, which leads its session.
    """
    import ray._private.services as services
    from ray._private.utils import detect_fate_sharing_support

    if not detect_fate_sharing_support():  # elsewhere Ray ends them through their common group
        yield
        return
    popen: Any = services.ConsolePopen

    def apart(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = popen(*command, start_new_session=True, **options)
        _leaders.append(process)
        on_start(process.pid)
        return process

    services.ConsolePopen = apart  # type: ignore[assignment,misc]  # as it is called, a function
    try:
        yield
    finally:
        services.ConsolePopen = popen  # type: ignore[misc]  # the class again


def ray_is_gone() -> bool:
    """Whether the Ray that this process has started, or joined, cannot go on.

    Costs microseconds, and asks no process of Ray's: such a call may never return. Workers end
    by themselves once their dead parent has been collected, which this does.
    """
    if any(is_gone() for is_gone in _joined):
        return True
    vital = [info.process for kind in VITAL for info in _node_processes().get(kind, ())]
    ended = [process.poll() is not None for process in [*_leaders, *vital]]  # collects each
    return any(ended)


@contextlib.contextmanager
def ray_counts_as_gone(when: Callable[[], bool]) -> Iterator[None]:
    """While entered, Ray is gone when ``when`` says so; it is called often, and must not wait."""
    _joined.append(when)
    try:
        yield
    finally:
        _joined.remove(when)


def end_ray() -> None:
    """End all processes of this process's own Ray at once, workers included."""
    others = [info.process for infos in _node_processes().values() for info in infos]
    processes = list({process.pid: process for process in [*_leaders, *others]}.values())
    below = _descendants(process.pid for process in others if process not in _leaders)
    for process in [*processes, *below]:
        with contextlib.suppress(psutil.Error, OSError):
            process.kill()
    sessions = {leader.pid for leader in _leaders}
    end_members(lambda session, pid: session in sessions)
    for process in processes:
        process.poll()
    _leaders.clear()


def end_members(ours: Callable[[int, int], bool]) -> None:
    """Kill processes by their session, also those that start meanwhile.

    Parameters
    ----------
    ours : callable
        Whether to kill, by the ids of the session and of the process.
    """
    deadline = time.monotonic() + END_WITHIN_S
    while (members := _members(ours)) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)


def _members(ours: Callable[[int, int], bool]) -> list[int]:
    mine = os.getsid(0)
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            session = os.getsid(pid)
            if session != mine and ours(session, pid) and _runs(pid):
                found.append(pid)
    return found


def _runs(pid: int) -> bool:
    return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def _descendants(pids: Iterable[int]) -> list[Any]:
    found: list[Any] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found += psutil.Process(pid).children(recursive=True)
    return found


def _node_processes() -> dict[str, list[Any]]:
    """Return the processes of the node that this process has started, by their kind."""
    worker: Any = sys.modules.get("ray._private.worker")  # if it is not imported, none runs
    node = worker._global_node if worker else None
    return dict(node.all_processes) if node else {}
