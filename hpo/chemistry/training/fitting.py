"""One training as Lightning runs it: an epoch, an evaluation, a report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chemprop.data import TrainingBatch
from chemprop.models import MPNN
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from chemprop_hpo.hpo.chemistry.features.batches import Batches, TrainingBatches, entropy
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.models.checkpoints import write_checkpoint
from chemprop_hpo.hpo.chemistry.models.criteria import EpochLoss, training_criterion
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import build_model, save_model
from chemprop_hpo.hpo.chemistry.training.epochs import (
    EpochReport,
    NonFiniteLossError,
    TrainingSpec,
    next_report,
)
from chemprop_hpo.hpo.chemistry.training.identity import identity_of
from chemprop_hpo.hpo.chemistry.training.metrics import Yardstick, generalisation_gap, score
from chemprop_hpo.hpo.chemistry.training.optimizers import build_optimizer, build_schedule

Weights = dict[str, Tensor]

EVALUATION_BATCH_SIZES = {"cpu": 64}
"""Molecules at once, by kind of device: few on a CPU, whose caches and memory are small."""
MOLECULES_AT_ONCE = 256
"""On any other device."""


class Fitting(LightningModule):
    """A model in training on a fold, which reports each epoch to ``on_epoch``.

    Parameters
    ----------
    spec : TrainingSpec
    fold : Fold
    on_epoch : callable
        Gets the report and the :class:`Progress`; False stops the training.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        fold: Fold,
        on_epoch: Callable[[EpochReport, Progress], bool],
    ) -> None:
        super().__init__()
        # Lightning's own way from loss to step costs half a millisecond a batch.
        self.automatic_optimization = False
        seed_torch(spec.seed, 0)
        self.spec = spec
        self.fold = fold
        self.mpnn: MPNN = quicken(build_model(spec.model, spec.optimization, fold))
        self.criterion = training_criterion(self.mpnn.criterion)
        self._loss = EpochLoss(self.criterion)
        self.batches = Batches(fold, spec.model)
        size = spec.optimization.batch_size
        self.loader = TrainingBatches(self.batches, fold, size, spec.seed)
        self.yardstick = Yardstick.of(fold, spec.yardstick)
        self.report: EpochReport | None = None
        self.best_weights: Weights = {}
        self._on_epoch = on_epoch
        self._stored: Mapping[str, Any] | None = None
        self._began = 0.0

    @property
    def epoch(self) -> int:
        """The last epoch that was reported; 0 before the first."""
        return 0 if self.report is None else self.report.epoch

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be continued, JSON-able."""
        return identity_of(self.spec, self.fold)

    def restore(self, report: EpochReport, stored: Mapping[str, Any]) -> None:
        """Stand where :meth:`state` was taken."""
        self.mpnn.load_state_dict(stored["weights"])
        self.best_weights = stored["best_weights"] or dict(stored["weights"])
        self.report = report
        self.loader.epoch = report.epoch
        self._stored = stored
        self._make_optimizer()

    def tell(self, report: EpochReport) -> bool:
        """Report the epoch at which the training stands; return whether it is to go on."""
        return self._on_epoch(report, Progress(self, report))

    def state(self) -> dict[str, Any]:
        """Return all that the next epoch depends on, and the best weights so far."""
        assert self.report is not None
        is_best = self.report.best_epoch == self.report.epoch
        return {
            "weights": self.mpnn.state_dict(),
            "best_weights": None if is_best else self.best_weights,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    # ------------------------------------------------------------------------ Lightning's hooks

    def configure_optimizers(self) -> AdamW:
        """Give Lightning the optimiser, which the training steps itself."""
        # Made anew where a checkpoint was restored: only now are the weights on their device.
        self._make_optimizer()
        self._stored = None
        return self._optimizer

    def on_train_epoch_start(self) -> None:
        """Make everything random in the epoch a function of seed and epoch."""
        self._began = time.perf_counter()
        self.loader.epoch = self.epoch + 1
        seed_torch(self.spec.seed, self.loader.epoch)
        self._loss.begin()
        self.mpnn.train()
        # Chemprop's scaling rests while its module trains, where a data set was scaled before.
        self.mpnn.X_d_transform.eval()

    def training_step(self, batch: TrainingBatch, _: int) -> None:
        """Take a step down the criterion over the labels that are there."""
        self._optimizer.zero_grad()
        outputs = _raw_outputs(self.mpnn, batch)
        labels = batch.Y.nan_to_num(nan=0.0)
        torch.autograd.backward(self._loss.of_batch(outputs, labels, batch.Y.isfinite()))
        if (most := self.spec.optimization.gradient_clip) is not None:
            clip_grad_norm_(self._stepped, most)
        self._optimizer.step()
        self._schedule.step()

    def on_train_epoch_end(self) -> None:
        """Evaluate, report, and stop where there is reason to."""
        epoch = self.loader.epoch
        metrics = {"train_loss": self._train_loss(epoch)}
        metrics |= self._evaluate(self.fold.validation, "val", epoch)
        report = next_report(self.spec, self.report, epoch, metrics, 0.0)
        if report.best_epoch == epoch:
            self.best_weights = _on_cpu(self.mpnn.state_dict())
        if report.stop_reason is not None:
            report = replace(report, final=self._final(report))
        self.report = replace(report, seconds=time.perf_counter() - self._began)
        goes_on = self.tell(self.report)
        self.trainer.should_stop = not goes_on or report.stop_reason is not None

    def _make_optimizer(self) -> None:
        optimization = self.spec.optimization
        self._optimizer = build_optimizer(self.mpnn, optimization)
        self._stepped = [one for group in self._optimizer.param_groups for one in group["params"]]
        self._schedule = build_schedule(
            self._optimizer, optimization, self.spec.max_epochs, len(self.loader)
        )
        if self._stored is not None:
            self._optimizer.load_state_dict(self._stored["optimizer"])
            self._schedule.load_state_dict(self._stored["schedule"])

    # ------------------------------------------------------------------------ evaluation

    def _train_loss(self, epoch: int) -> float:
        loss = self._loss.of_epoch()
        if not math.isfinite(loss):
            raise NonFiniteLossError(epoch)
        return loss

    def _evaluate(self, rows: NDArray[np.int64], part: str, epoch: int) -> dict[str, float]:
        outputs = predict(self.mpnn, self.batches, rows)
        if not np.isfinite(outputs).all():
            raise NonFiniteLossError(epoch, f"a prediction ({part})")
        return score(self.yardstick, outputs, self.fold.targets[rows], part)

    def _final(self, report: EpochReport) -> dict[str, float]:
        now = _on_cpu(self.mpnn.state_dict())
        self.mpnn.load_state_dict(self.best_weights)
        validation = self._evaluate(self.fold.validation, "val", report.best_epoch)
        training = self._evaluate(self.fold.train, "train", report.best_epoch)
        # What is checkpointed after this must still be the last epoch.
        self.mpnn.load_state_dict(now)
        final = validation | training | generalisation_gap(self.yardstick, validation, training)
        if "val_rmse" in validation:
            final["best_val_rmse"] = validation["val_rmse"]
        return final


class Progress:
    """A training as it stands after an epoch, for whoever wants to keep it.

    It may be used inside ``on_epoch``, and after the training's last epoch; in between the
    weights are those of a later moment, and it refuses.
    """

    def __init__(self, fitting: Fitting, report: EpochReport) -> None:
        self._fitting = fitting
        self.report = report

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on exactly, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written; ``path`` is then as it was.
        """
        fitting = self._current()
        header = {"report": asdict(self.report), "training": fitting.identity}
        write_checkpoint(path, header, fitting.state())

    def save_best(self, path: Path) -> None:
        """Write the best model so far in Chemprop's own format, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written; ``path`` is then as it was.
        """
        fitting = self._current()
        # A fresh model has no trainer, no device and no metric states that would be stored too.
        model = build_model(fitting.spec.model, fitting.spec.optimization, fitting.fold)
        model.load_state_dict(fitting.best_weights)
        save_model(model, path, fitting.fold.target_cols)

    def _current(self) -> Fitting:
        if self._fitting.loader.epoch != self.report.epoch:
            raise RuntimeError(f"the training went on since epoch {self.report.epoch}")
        return self._fitting


def predict(mpnn: MPNN, batches: Batches, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what a model says of the molecules at ``rows``, on the device where it lies.

    Returns
    -------
    float64 array, shape (n, t)
        Predictions in transformed units, or the logits of a classification.
    """
    mpnn.eval()
    device = next(mpnn.parameters()).device
    size = EVALUATION_BATCH_SIZES.get(device.type, MOLECULES_AT_ONCE)
    parts = []
    with torch.inference_mode():
        for some in np.split(rows, range(size, len(rows), size)):
            batch = batches.cut(some)
            batch.bmg.to(device)
            X_d = None if batch.X_d is None else batch.X_d.to(device)  # noqa: N806
            parts.append(_raw_outputs(mpnn, batch._replace(X_d=X_d)).double().cpu().numpy())
    return np.concatenate(parts)


def seed_torch(seed: int, epoch: int) -> None:
    """Seed torch for an epoch, so that no generator's state has to be kept; 0 is the start."""
    torch.manual_seed(int(np.random.SeedSequence(entropy(seed, epoch)).generate_state(1)[0]))


def _raw_outputs(mpnn: MPNN, batch: TrainingBatch) -> Tensor:
    # In training mode standardised, in evaluation mode in target units; logits in both.
    outputs: Tensor = mpnn.predictor.train_step(mpnn.fingerprint(batch.bmg, None, batch.X_d))
    return outputs


def _on_cpu(weights: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
