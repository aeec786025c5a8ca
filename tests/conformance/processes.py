"""Several processes at the same moment, and processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from chemprop_hpo.storage.database import Database, open_database

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


def dies_at(statement: int, url: str, work: Callable[[Database], object]) -> bool:
    """Do ``work`` in a process that is killed before one of its statements, or before a commit.

    Returns
    -------
    bool
        False if it needed fewer than that many, and is done.
    """
    child = FORK.Process(target=_die_at, args=(statement, url, work))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _die_at(statement: int, url: str, work: Callable[[Database], object]) -> None:
    left = [statement]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            die()

    with open_database(url) as db:
        event.listen(db.engine, "before_cursor_execute", count)
        event.listen(db.engine, "commit", count)
        work(db)
