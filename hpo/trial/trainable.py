"""One trial under Ray Tune, on a worker that is used again for the next."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import NODE_IP, PID, TRIAL_ID

from chemprop_hpo.configs.schema import (
    MlflowConfig,
    PromotionConfig,
    RayConfig,
    StudyConfig,
    SweepConfig,
)
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.training.train import TrainingSpec, train
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.memory import await_free_gpu, spare_from_collection
from chemprop_hpo.hpo.trial.training_thread import Train, TrainingThread

__all__ = ["TrialJob", "TrialTrainable"]

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class TrialJob:
    """What all trials of a sweep share; it holds no address of any service.

    Parameters
    ----------
    config : SweepConfig
        The sweep, without the URLs of its database and tracking server.
    folder : Path
        The study's folder, absolute; every worker must see it.
    train : callable
        Trains one model.
    """

    config: SweepConfig
    folder: Path
    train: Train = train

    @classmethod
    def of(cls, config: SweepConfig, folder: Path, train: Train) -> TrialJob:
        """Return the job of a sweep, with every URL left out: Ray pickles it."""
        no_urls = {
            "study": StudyConfig(name=config.study_name),
            "mlflow": MlflowConfig(tracking=False),
            "promotion": PromotionConfig(),
            "ray": RayConfig(),
        }
        return cls(config.model_copy(update=no_urls), folder, train)

    def training(self, trial: dict[str, Any], fold: Fold) -> TrainingThread:
        """Return the training of one trial, not yet begun."""
        config = self.config.with_params(trial["params"])
        spec = TrainingSpec(
            model=config.model,
            optimization=config.optimization,
            max_epochs=config.max_epochs,
            seed=trial["seed"],
            metric=config.metric,
            mode=config.mode,
            yardstick=self.config.optimization.criterion,
            device="cuda" if config.resources.gpus_per_trial > 0 else "cpu",
            threads=config.resources.cpus_per_trial,
        )
        folder = TrialFolder(self.folder / trial["folder"])
        every_s, reached = config.checkpoint_every_s, trial["reached"]
        return TrainingThread(self.train, spec, fold, folder, every_s, reached)


class TrialTrainable(tune.Trainable):
    """A class trainable: each step is one epoch of the trial that this worker has now."""

    def setup(  # type: ignore[override]  # `tune.with_parameters` passes job and fold
        self, config: dict[str, Any], job: TrialJob, fold: Fold
    ) -> None:
        """Take the first trial; ``job`` and ``fold`` come out of the object store once."""
        spare_from_collection()
        self._job = job
        self._fold = fold
        self._before: TrainingThread | None = None
        self._training = job.training(config, fold)
        self._needs_free_gpu: bool = config["alone"]

    def step(self) -> dict[str, Any]:
        """Train one epoch, once the trial before has let go of this worker.

        A training that does not let go takes the whole worker with it, and Tune starts the
        new trial on another. Waiting here and not in `reset_config`, since Tune gives a trial
        another worker only when it runs already.
        """
        before, self._before = self._before, None
        if before is not None and not before.stop(STOP_TIMEOUT_S, keep=False):
            log.error("a stopped training did not end in %g s; its worker ends", STOP_TIMEOUT_S)
            os._exit(1)
        if self._needs_free_gpu:
            await_free_gpu()
            self._needs_free_gpu = False
        return self._training.next_report().as_result()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; the one before was told to end, or is now."""
        self._before = self._training
        self._training = self._job.training(new_config, self._fold)
        self._needs_free_gpu = new_config["alone"]
        return True

    def get_auto_filled_metrics(
        self,
        now: datetime | None = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """Return what Tune adds to each report: whose it is and where it comes from, no more."""
        return {TRIAL_ID: self.trial_id, PID: os.getpid(), NODE_IP: self._local_ip}

    def cleanup(self) -> None:
        """Stop for good; keep a checkpoint, since the trial may be continued elsewhere."""
        self._training.stop(STOP_TIMEOUT_S, keep=True)
