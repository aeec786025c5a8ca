"""Run the program's commands as processes of their own, without their imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Command", "Shell"]

CHECKOUT = Path(__file__).parents[2]
POLL_S = 0.05
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray's node ends itself after half a minute without its agents, which busy machines take.
    "RAY_agent_register_timeout_ms": "180000",
}


@dataclass
class Command:
    """A command that was started: a process with a HOME and a log of its own."""

    shell: Shell
    pid: int
    home: Path
    log: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code (minus the signal that ended it), or None while it runs."""
        if self.code is None:
            self.code = self.shell.exit_code(self.pid)
        return self.code

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None if the command still runs after ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return self.code

    def kill(self) -> None:
        """SIGKILL it and wait for its end."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            while self.poll() is None:
                time.sleep(POLL_S)

    @property
    def output(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def steps(self) -> int | None:
        """The steps it took in the database, where it ended by itself."""
        file = Path(f"{self.log}.steps")
        return int(file.read_text()) if file.exists() else None


class Shell:
    """Starts commands; use it as a context manager, at whose end all of them are gone."""

    def __init__(self) -> None:
        self._number = 0

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server"],
            cwd=CHECKOUT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for whoever uses the shell
        )
        self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()  # its commands die with it
            self._server.wait()

    def start(self, folder: Path, *arguments: str, die_at: int | None = None) -> Command:
        """Start a command in ``folder``.

        Parameters
        ----------
        folder : Path
            Its working directory; its HOME and its log are made there.
        *arguments : str
            The command line without the program's name.
        die_at : int, optional
            The step in the database at which it kills itself.
        """
        self._number += 1
        home = folder / f"home{self._number}"
        home.mkdir()
        temporary = folder / "t"  # short: Ray puts sockets below it
        temporary.mkdir(exist_ok=True)
        log = folder / f"command{self._number}.log"
        answer = self._ask(
            arguments=arguments,
            folder=str(folder),
            environment={"HOME": str(home), "TMPDIR": str(temporary)},
            log=str(log),
            die_at=die_at,
        )
        return Command(self, answer["pid"], home, log)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a command, or None while it runs; to be asked until it is told."""
        code: int | None = self._ask(poll=pid)["code"]
        return code

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server ended ({self._server.wait()})")
        answer: dict[str, Any] = json.loads(line)
        return answer
