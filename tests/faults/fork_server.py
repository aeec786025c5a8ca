"""A process that has imported what a sweep needs, and forks into command after command.

It saves each command some fifteen seconds of imports. It reads requests from its stdin, a line of
JSON each, answers each with a line on its stdout, and ends with its stdin; what still runs of its
commands then, it kills.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

import chemprop  # noqa: F401
import lightning.pytorch  # noqa: F401
import optuna  # noqa: F401
import psycopg  # noqa: F401
import ray.tune  # noqa: F401
import sqlalchemy  # noqa: F401
import torch  # noqa: F401

import chemprop_hpo.hpo.beginning
import chemprop_hpo.hpo.commands.outcome
import chemprop_hpo.hpo.progress
import chemprop_hpo.hpo.sweep  # noqa: F401
from chemprop_hpo.hpo.cli import run
from tests.faults.kill_points import Steps

PR_SET_PDEATHSIG = 1


def main() -> None:
    running: set[int] = set()
    _say({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "arguments" in request:
            pid = _fork(request)
            running.add(pid)
            _say({"pid": pid})
        else:
            code = _exit_code(request["poll"])
            running -= {request["poll"]} if code is not None else set()
            _say({"code": code})
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(request: dict[str, Any]) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(request, server)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    return pid


def _become(request: dict[str, Any], server: int) -> NoReturn:
    """Be the command, as if a shell had started it."""
    _die_with(server)
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.argv[:] = ["chemprop-hpo", *request["arguments"]]
    _redirect(request["log"])
    steps = Steps(request["die_at"])
    code = run(request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    with open(request["log"] + ".steps", "w") as file:
        file.write(str(steps.taken))
    os._exit(code)


def _die_with(server: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it was gone before
        os._exit(98)


def _redirect(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


if __name__ == "__main__":
    main()
