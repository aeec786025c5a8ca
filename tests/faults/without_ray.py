"""The whole driver in one process: everything is real but Ray, whose loop is played here.

So a sweep takes a fraction of a second, and can be killed at each of its steps in the database.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo import drive, sweep
from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.trial.capacity import Node
from chemprop_hpo.hpo.trial.training_thread import TrainingThread
from tests.faults.kill_points import Steps
from tests.hpo.scripted import scripted_train

__all__ = ["Ended", "run_in_child"]

STOP_S = 10.0


@dataclass(frozen=True)
class Ended:
    """How a driver ended: its exit code (minus the signal), and the steps that it took."""

    code: int
    steps: int | None


@dataclass(frozen=True)
class _TuneTrial:
    """What the scheduler and the callback look at of a trial of Tune's."""

    trial_id: str
    error_file: str | None = None


def run_in_child(
    loaded: LoadedSweep,
    log: Path,
    *,
    die_at: int | None = None,
    writes_only: bool = True,
    interrupt_at: int | None = None,
) -> Ended:
    """Run a driver to its end in a forked process, and return how it ended.

    Parameters
    ----------
    loaded : LoadedSweep
        The sweep, of scripted trainings.
    log : Path
        Where it writes what it has to say.
    die_at : int, optional
        The step in the database at which it kills itself.
    writes_only : bool
        Count commits of changes only: between two of them, the database stays as it is.
    interrupt_at : int, optional
        The report of a trial, counted from 1, at which it gets a SIGTERM.
    """
    steps_file = log.with_suffix(".steps")
    steps_file.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _be_a_driver(loaded, log, steps_file, Steps, (die_at, writes_only), interrupt_at)
    _, status = os.waitpid(pid, 0)
    steps = int(steps_file.read_text()) if steps_file.exists() else None
    return Ended(os.waitstatus_to_exitcode(status), steps)


def _be_a_driver(
    loaded: LoadedSweep,
    log: Path,
    steps_file: Path,
    count: Callable[..., Steps],
    limits: tuple[int | None, bool],
    interrupt_at: int | None,
) -> None:
    code = 1
    try:
        logging.basicConfig(filename=log, level=logging.INFO, force=True)
        hush_optuna()
        steps = count(*limits)
        with _no_ray(interrupt_at):
            result = sweep.start_sweep(loaded, train=scripted_train)
        code = 0 if result.signal is None else 128 + result.signal
        steps_file.write_text(str(steps.taken))
    except BaseException:
        logging.exception("the driver failed")
    finally:
        logging.shutdown()
        os._exit(code)


@contextlib.contextmanager
def _no_ray(interrupt_at: int | None) -> Any:
    assert not ray.is_initialized()
    loop = _Loop(interrupt_at)
    with (
        mock.patch.object(sweep, "connected", _not_connected),
        mock.patch.object(drive, "nodes", _two_cpus),
        mock.patch.object(drive, "require_shared_folder", _shared),
        mock.patch.object(drive, "tune_trials", loop.tune_trials),
    ):
        yield


def _not_connected(address: str | None) -> contextlib.nullcontext[None]:
    return contextlib.nullcontext()


def _two_cpus() -> list[Node]:
    return [Node(2, 0)]


def _shared(folder: Path) -> None:
    pass


class _Loop:
    """Tune's loop, as far as searcher, scheduler, stopper and callback can tell."""

    def __init__(self, interrupt_at: int | None) -> None:
        self._interrupt_at = interrupt_at
        self._reports = 0
        self._names = 0

    def tune_trials(
        self, searcher: Any, asha: Any, end: Any, callback: Any, job: Any, fold: Any, most: int
    ) -> None:
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
