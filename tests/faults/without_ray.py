"""The whole driver in one process: everything is real but Ray, whose loop is played here.

So a sweep takes a fraction of a second, and can be killed at each of its steps in the database.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import ray
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo import beginning, drive, sweep
from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.trial.capacity import Node
from chemprop_hpo.hpo.trial.training_thread import TrainingThread
from tests.hpo.scripted import scripted_train

__all__ = ["Ended", "Fault", "run_in_child"]

STOP_S = 10.0
IDLE_S = 0.02


class Fault(Protocol):
    """What goes wrong in a driver's process; made there, it is at work."""

    taken: int
    """Steps in the database so far."""


@dataclass(frozen=True)
class Ended:
    """How a driver ended."""

    code: int
    """Its exit code, or minus the signal that ended it."""
    steps: int = 0
    """The steps that it took in the database; known if it was not killed."""
    first: int = 0
    """The step before which it asked for its first trial."""
    last: int = 0
    """The step after which no trial was left to run."""


@dataclass(frozen=True)
class _TuneTrial:
    """What the scheduler and the callback look at of a trial of Tune's."""

    trial_id: str
    error_file: str | None = None


def run_in_child(
    loaded: LoadedSweep, log: Path, make_fault: Callable[[], Fault], interrupt_at: int | None = None
) -> Ended:
    """Run a driver to its end in a forked process, and return how it ended.

    Parameters
    ----------
    loaded : LoadedSweep
        The sweep, of scripted trainings.
    log : Path
        Where it writes what it has to say.
    make_fault : callable
        Called in the process; makes what goes wrong there.
    interrupt_at : int, optional
        The report of a trial, counted from 1, at which it gets a SIGTERM.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_a_driver(loaded, log, writer, make_fault, interrupt_at)
    os.close(writer)
    with os.fdopen(reader) as answer:
        counts = [int(word) for word in answer.read().split()]
    _, status = os.waitpid(pid, 0)
    return Ended(os.waitstatus_to_exitcode(status), *counts)


def _be_a_driver(
    loaded: LoadedSweep,
    log: Path,
    answer: int,
    make_fault: Callable[[], Fault],
    interrupt_at: int | None,
) -> None:
    code = 1
    try:
        logging.basicConfig(filename=log, level=logging.INFO, force=True)
        hush_optuna()
        fault = make_fault()
        loop = _Loop(fault, interrupt_at)
        with _no_ray(loop):
            result = sweep.start_sweep(loaded, train=scripted_train)
        code = 0 if result.signal is None else 128 + result.signal
        os.write(answer, f"{fault.taken} {loop.first_step} {loop.last_step}".encode())
    except BaseException:
        logging.exception("the driver failed")
    finally:
        logging.shutdown()
        os._exit(code)


@contextlib.contextmanager
def _no_ray(loop: _Loop) -> Iterator[None]:
    assert not ray.is_initialized()
    with (
        mock.patch.object(sweep, "connected", _not_connected),
        mock.patch.object(beginning, "connected", _not_connected),
        mock.patch.object(sweep, "nodes", _two_cpus),
        mock.patch.object(drive, "nodes", _two_cpus),
        mock.patch.object(drive, "require_shared_folder", _shared),
        mock.patch.object(drive, "tune_trials", loop.tune_trials),
    ):
        yield


def _not_connected(address: str | None, ahead: object = None) -> contextlib.nullcontext[None]:
    return contextlib.nullcontext()


def _two_cpus() -> list[Node]:
    return [Node(2, 0)]


def _shared(folder: Path) -> None:
    pass


class _Loop:
    """Tune's loop, as far as searcher, scheduler, stopper and callback can tell."""

    def __init__(self, fault: Fault, interrupt_at: int | None) -> None:
        self.first_step = self.last_step = 0
        self._fault = fault
        self._interrupt_at = interrupt_at
        self._reports = 0
        self._names = 0

    def tune_trials(
        self, searcher: Any, asha: Any, end: Any, callback: Any, job: Any, fold: Any, most: int
    ) -> None:
        self.first_step = self._fault.taken + 1
        running: dict[str, TrainingThread] = {}
        is_over = False
        while not end.stop_all() and not (is_over and not running):
            while not is_over and len(running) < most:
                self._names += 1
                ray_id = f"{os.getpid()}-{self._names}"
                task = searcher.suggest(ray_id)
                is_over = task == Searcher.FINISHED
                if not isinstance(task, dict):
                    break
                running[ray_id] = job.training(task, fold)
            for ray_id in list(running):
                if self._step(ray_id, running[ray_id], searcher, asha, end, callback):
                    running.pop(ray_id).stop(STOP_S, keep=False)
            callback.on_step_end(0, [])
            if not running:
                time.sleep(IDLE_S)
        self.last_step = self._fault.taken
        for training in running.values():
            training.stop(STOP_S, keep=True)

    def _step(
        self,
        ray_id: str,
        training: TrainingThread,
        searcher: Any,
        asha: Any,
        end: Any,
        callback: Any,
    ) -> bool:
        """Train an epoch and hand its report around; return whether the trial is over."""
        result = training.next_report().as_result()
        self._interrupt_if_due()
        trial = _TuneTrial(ray_id)
        is_over = end(ray_id, result) or result["done"]
        if not is_over and asha.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE:
            searcher.on_trial_result(ray_id, result)
            return False
        asha.on_trial_complete(None, trial, result)
        searcher.on_trial_complete(ray_id, result)
        callback.on_trial_complete(0, [], trial)
        return True

    def _interrupt_if_due(self) -> None:
        self._reports += 1
        if self._reports == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)
