"""Processes of the stack: each with a log, and ended by its own id, with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

BIN = Path(sys.executable).parent
END_WITHIN_S = 25.0
ASK_WITHIN_S = 30.0


class StackError(Exception):
    """A service or a command did not do what it should; with the end of its log."""


class Service:
    """A process that runs until it is ended.

    Parameters
    ----------
    name : str
        What it is called in messages; its log is ``NAME.log`` in ``logs``.
    command : sequence of str
        What it runs.
    environment : mapping
        All of its environment, beside the path and the home.
    folder, logs : Path
        Where it runs, and where its log lies.
    user : str, optional
        Whom it runs as.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        logs: Path,
        user: str | None = None,
    ) -> None:
        self.name, self.log = name, logs / f"{name}.log"
        with self.log.open("ab") as out:
            self.process = start(command, environment, folder, out, user)

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, and whatever it leaves at once."""
        family = [psutil.Process(self.process.pid)] if not self.is_over() else []
        family += [child for parent in family for child in parent.children(recursive=True)]
        if not self.is_over():
            self.process.send_signal(number)
        try:
            self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(family, timeout=3)[1]:
            left.kill()


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    out: IO[bytes],
    user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that no signal of a terminal reaches it."""
    own = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    # Only as a courtesy to whatever else the machine is at.
    own |= {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=own | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=user,
    )


def wait_until_well(service: Service, ask: Sequence[str], environment: Mapping[str, str]) -> None:
    """Ask a service how it is, as Compose does, until it is well.

    Raises
    ------
    StackError
        It ended, or is not well within three minutes.
    """
    deadline = time.monotonic() + 180
    while not service.is_over() and time.monotonic() < deadline:
        if _succeeds(ask, environment, service.log.parent):
            return
        time.sleep(0.3)
    raise StackError(f"{service.name} is not well:\n{service.said()[-3000:]}")


def _succeeds(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> bool:
    with open(os.devnull, "wb") as nowhere:
        process = start(command, environment, folder, nowhere)
    try:
        return process.wait(ASK_WITHIN_S) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
