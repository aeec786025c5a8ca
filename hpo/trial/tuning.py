"""Run a study's trials under Ray Tune, and leave none of Tune's own files behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import ray
import ray.tune.execution.class_cache
import ray.tune.execution.tune_controller
import ray.tune.experiment.trial
from ray import tune
from ray.air.execution import FixedResourceManager
from ray.tune.schedulers import FIFOScheduler

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.trial.callback import SweepCallback
from chemprop_hpo.hpo.trial.cluster import warn_where_disk_is_memory
from chemprop_hpo.hpo.trial.ending import EarlyEnd
from chemprop_hpo.hpo.trial.memory import spared_meanwhile
from chemprop_hpo.hpo.trial.memory_kills import memory_kills_as_deaths
from chemprop_hpo.hpo.trial.private_ray import is_private
from chemprop_hpo.hpo.trial.replaced import replaced
from chemprop_hpo.hpo.trial.temporary import temporary_folder
from chemprop_hpo.hpo.trial.trainable import TrialJob, TrialTrainable

__all__ = ["tune_trials"]


def tune_trials(
    searcher: StudySearcher,
    asha: Asha | None,
    end: EarlyEnd,
    callback: SweepCallback,
    job: TrialJob,
    fold: Fold,
    concurrency: int,
) -> None:
    """Run trials until the searcher has no more, or ``end`` says so.

    Parameters
    ----------
    searcher : StudySearcher
        Gives the trials and writes down what becomes of them.
    asha : Asha or None
        Stops bad trials; None lets every trial go on to its end.
    end : EarlyEnd
        Ends all trials at once.
    callback : SweepCallback
        Called as the loop turns.
    job : TrialJob
        What the trials share.
    fold : Fold
        The data, put into the object store once.
    concurrency : int
        How many trials run at once.
    """
    # The searcher hands out no more than fit; with Tune's own bound of one trial that waits
    # for its worker, workers would start one after another, some ten seconds each.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(concurrency)
    tune_config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=asha or FIFOScheduler(),
        num_samples=-1,
        reuse_actors=True,
        trial_dirname_creator=lambda trial: str(trial.trial_id),
    )
    with temporary_folder() as folder:
        run_config = tune.RunConfig(
            name="sweep",
            storage_path=str(folder),
            stop=end,
            callbacks=[callback],
            # Tune would try again only where the worker had started. The searcher hands a trial
            # whose worker died out once more, whenever that was.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        )
        with (
            memory_kills_as_deaths(),
            _plain_workers(),
            _lean_controller(),
            spared_meanwhile(),
            end.around_tune(),
        ):
            trainable = _trainable(job, fold)
            tune.Tuner(trainable, tune_config=tune_config, run_config=run_config).fit()


@contextmanager
def _plain_workers() -> Iterator[None]:
    """Let trials run on workers as Ray starts them, also on those that it has started ahead.

    Tune would reserve a place for each trial by a task, which takes a worker of its own, and ask
    for an environment in which no worker is yet. What it would put there a private Ray's workers
    have from this process.
    """
    controller, cache = ray.tune.execution.tune_controller, ray.tune.execution.class_cache
    as_they_are: dict[str, Any] = {"DEFAULT_ENV_VARS": {}, "ENV_VARS_TO_PROPAGATE": frozenset()}
    with ExitStack() as stack:
        manager = partial(FixedResourceManager, ray.cluster_resources())
        stack.enter_context(replaced(controller, PlacementGroupResourceManager=manager))
        if is_private():
            stack.enter_context(replaced(cache, **as_they_are))
        yield


@contextmanager
def _lean_controller() -> Iterator[None]:
    """Let Tune leave out what costs its loop time with each trial, and nobody reads.

    It would fetch the trainable from Ray's key-value store and unpickle it again and again, and
    write down each trial for a restart of its own: the study is the only truth. At its end it
    looks for the file, which is written at the beginning and at the end, without trials.
    """
    controller = ray.tune.execution.tune_controller
    trial: Any = ray.tune.experiment.trial  # which says nothing of what it has imported
    write_down = controller.TuneController.checkpoint

    written = False

    def write_down_seldom(self: Any, force: bool = False, wait: bool = False) -> None:
        nonlocal written
        if force or not written:
            written = True
            write_down(self, force=force, wait=wait)

    with (
        replaced(
            controller.TuneController,
            checkpoint=write_down_seldom,
            _get_trial_checkpoints=lambda self: {},
        ),
        replaced(
            trial,
            get_trainable_cls=cache(trial.get_trainable_cls),
            validate_trainable=cache(trial.validate_trainable),
        ),
    ):
        yield


def _trainable(job: TrialJob, fold: Fold) -> Any:
    warn_where_disk_is_memory(fold.nbytes)
    resources = job.config.resources
    return tune.with_resources(
        tune.with_parameters(TrialTrainable, job=job, fold=fold),
        {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
    )
