"""Run a command, and say what it and every process that it started have cost.

python benchmarks/processes.py [--log FILE] [--timeout SECONDS] -- COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

__all__ = ["Cost", "measure"]

PR_SET_CHILD_SUBREAPER = 36
EVERY_S = 0.5
MEMORY_EVERY = 6
"""Looks: the kernel adds up a process's pages at the cost of what is being measured."""
END_WITHIN_S = 30.0
"""Seconds that processes have to end after the command itself has."""

MB = 1e6


@dataclass(frozen=True)
class Cost:
    """What a command has cost, with all processes below it.

    Attributes
    ----------
    wall_s : float
        Until the command itself ended.
    cpu_s : float
        User and system time of all processes, those that outlived it included; the last half
        second of each of Ray's workers is not in it.
    peak_mb : float
        The most memory at one moment, 10^6 bytes; pages that processes share count once. It is
        looked at every three seconds.
    written_mb : float
        What was handed to the file system, 10^6 bytes; the last half second of each process is
        not in it, and neither is what goes to a file system in memory.
    processes : int
        The most at one moment.
    code : int
        The exit code; negative for a signal.
    timed_out : bool
        Whether it was ended from outside.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    written_mb: float
    processes: int
    code: int
    timed_out: bool


def measure(
    command: Sequence[str],
    folder: Path,
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Cost:
    """Run a command to its end, or to its time limit, and return its cost.

    Whatever it leaves behind is adopted, waited for, and at last killed. The kernel's own sum over
    processes that have ended lacks those whose parent ignores that they end, as Ray's raylet does
    with its workers. So each process is looked at as well, and the larger of both sums is taken:
    neither counts anything twice.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Where it runs.
    log : Path
        Gets what it prints.
    environment : mapping, optional
        In place of this process's own.
    timeout_s : float, optional
        Seconds after which it gets SIGTERM, and later SIGKILL.
    """
    _adopt_orphans()
    before = _ended_cpu_s()
    began = time.monotonic()
    watch = _Watch()
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment
            )
        watch.start()
        code, timed_out = _wait(process, timeout_s)
    except BaseException:  # Ctrl-C, or an end by a signal, in Popen's own code too: leave nothing
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                child.terminate()
        _end_the_rest()
        raise
    wall_s = time.monotonic() - began
    _end_the_rest()
    watch.stop()
    cpu_s = max(_ended_cpu_s() - before, watch.cpu_s)
    return Cost(wall_s, cpu_s, watch.peak_mb, watch.written_mb, watch.most, code, timed_out)


class _Watch(threading.Thread):
    """Looks at all processes below this one every now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()
        self._written: dict[tuple[int, float], int] = {}
        self._cpu_s: dict[tuple[int, float], float] = {}
        self.peak_mb = 0.0
        self.most = 0

    @property
    def written_mb(self) -> float:
        return sum(self._written.values()) / MB

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_s.values())

    def run(self) -> None:
        looks = itertools.cycle([True, *[False] * (MEMORY_EVERY - 1)])
        while not self._stopped.wait(EVERY_S):
            found = psutil.Process().children(recursive=True)
            self.most = max(self.most, len(found))
            for process in found:
                self._look(process)
            if next(looks):
                self.peak_mb = max(self.peak_mb, sum(map(_memory, found)) / MB)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _look(self, process: psutil.Process) -> None:
        """Note a process's CPU time and writes."""
        with suppress(psutil.Error, OSError):
            key = process.pid, process.create_time()
            times = process.cpu_times()
            self._cpu_s[key] = times.user + times.system
            self._written[key] = process.io_counters().write_bytes


def _memory(process: psutil.Process) -> int:
    """Return a process's memory, of shared pages its part."""
    with suppress(psutil.Error, OSError):
        return int(process.memory_full_info().pss)
    return 0


def _wait(process: subprocess.Popen[bytes], timeout_s: float | None) -> tuple[int, bool]:
    try:
        return process.wait(timeout_s), False
    except subprocess.TimeoutExpired:
        return _terminate(process), True


def _terminate(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end_the_rest() -> None:
    """Wait for what the command left behind, and kill what does not end."""
    deadline = time.monotonic() + END_WITHIN_S
    while left := psutil.Process().children(recursive=True):
        if time.monotonic() > deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
        _reap()
        time.sleep(0.1)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _ended_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _adopt_orphans() -> None:
    """Let processes whose parent ends become children of this one, and not of init."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the processes of a command cannot be followed here")


def main() -> int:
    """Run the command, print its cost, and return its exit code."""
    parser = argparse.ArgumentParser(description="What a command costs, with all its processes.")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="gets what it prints")
    parser.add_argument("--timeout", type=float, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    cost = measure(options.command, Path.cwd(), options.log, timeout_s=options.timeout)
    for name, value in asdict(cost).items():
        print(f"{name:12} {value:.1f}" if isinstance(value, float) else f"{name:12} {value}")
    return cost.code if cost.code >= 0 else 128 - cost.code


if __name__ == "__main__":
    sys.exit(main())
