"""Know a process again, so that nobody waits for one that has ended."""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path
from typing import NamedTuple

import psutil

__all__ = [
    "DEAD_AFTER_S",
    "Process",
    "boot_id",
    "has_ended",
    "is_here",
    "process_start",
    "this_process",
]

DEAD_AFTER_S = 60.0
"""After how long a process of another machine that says nothing is taken for dead."""


class Process(NamedTuple):
    """What tells a process from any other, also from a later one under the same number."""

    host: str
    boot_id: str
    pid: int
    pid_started: float


def this_process() -> Process:
    """Return the present process."""
    pid = os.getpid()
    return Process(socket.gethostname(), boot_id(), pid, process_start(pid) or 0.0)


def has_ended(process: Process) -> bool:
    """Whether a process of this machine is gone; of those elsewhere nothing is known."""
    return is_here(process) and process_start(process.pid) != process.pid_started


def is_here(process: Process) -> bool:
    """Whether a process belongs, or belonged, to this machine and its present boot."""
    return process.host == socket.gethostname() and process.boot_id == boot_id()


@functools.cache
def boot_id() -> str:
    """Return what tells this boot, and this container of process ids, from any other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return str(int(psutil.boot_time()))


def process_start(pid: int) -> float | None:
    """Return when a process began, in a unit of this machine, or None if it is gone.

    On Linux in clock ticks since boot: wall time moves when the clock is set.
    """
    if not Path("/proc/self/stat").exists():
        return _process_start_elsewhere(pid)
    try:
        # The command's name may hold spaces and brackets; the fields go on after the last one.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ("Z", "X") else float(rest[18])


def _process_start_elsewhere(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
