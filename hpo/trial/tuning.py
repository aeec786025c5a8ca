"""Run a study's trials under Ray Tune, and leave none of Tune's own files behind."""

from __future__ import annotations

import gc
import os
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.trial.callback import SweepCallback
from chemprop_hpo.hpo.trial.cluster import warn_where_disk_is_memory
from chemprop_hpo.hpo.trial.ending import EarlyEnd
from chemprop_hpo.hpo.trial.memory_kills import memory_kills_as_deaths
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
        with memory_kills_as_deaths(), end.around_tune():
            trainable = _trainable(job, fold)
            tuner = tune.Tuner(trainable, tune_config=tune_config, run_config=run_config)
            tuner.fit()
            del tuner
            gc.collect()  # Tune's placement groups are removed while Ray is there to be asked


def _trainable(job: TrialJob, fold: Fold) -> Any:
    warn_where_disk_is_memory(fold.nbytes)
    resources = job.config.resources
    return tune.with_resources(
        tune.with_parameters(TrialTrainable, job=job, fold=fold),
        {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
    )
