"""Several processes at the same moment, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

FORK = multiprocessing.get_context("fork")


def in_processes(number: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Run ``work`` in that many processes at the same moment, and return what each said."""
    barrier, answers = FORK.Barrier(number), FORK.SimpleQueue()
    children = [
        FORK.Process(target=_answer, args=(work, barrier, answers, args)) for _ in range(number)
    ]
    for child in children:
        child.start()
    found = [answers.get() for _ in children]
    for child in children:
        child.join()
    return found


def _answer(work: Callable[..., Any], barrier: Any, answers: Any, args: tuple[Any, ...]) -> None:
    barrier.wait(30)
    try:
        answers.put(work(*args))
    except BaseException as error:
        answers.put(repr(error))


def killed(work: Callable[..., Any], *args: Any) -> None:
    """Run ``work`` in a process that must end by SIGKILL."""
    child = FORK.Process(target=work, args=args)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
