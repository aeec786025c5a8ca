"""What a training is asked for, what it says after each epoch, and how it may fail."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from chemprop_hpo.configs.errors import ChempropHpoError, ConfigError
from chemprop_hpo.configs.schema import Criterion, ModelConfig, OptimizationConfig


class NonFiniteLossError(ChempropHpoError):
    """A training whose loss, predictions or metric became NaN or infinite.

    Parameters
    ----------
    epoch : int
        The epoch in which it was seen, counted from 1.
    what : str
        What is not finite.
    """

    def __init__(self, epoch: int, what: str = "the training loss") -> None:
        self.epoch = epoch
        self.what = what
        super().__init__(
            f"epoch {epoch}: {what} is not finite; a lower max_lr or a gradient_clip may help"
        )

    def __reduce__(self) -> tuple[type[NonFiniteLossError], tuple[int, str]]:
        # By default a pickle would hand the message to the constructor as the epoch.
        return type(self), (self.epoch, self.what)


@dataclass(frozen=True)
class TrainingSpec:
    """One training, without its data.

    Attributes
    ----------
    model : ModelConfig
    optimization : OptimizationConfig
    max_epochs : int
        Epochs to train; the learning rate's schedule is laid out over all of them.
    seed : int
        Rules the initial weights, the order of molecules, and dropout.
    metric : str
        What the best epoch is chosen by, for example ``val_loss``.
    mode : str
        ``min`` or ``max``.
    yardstick : Criterion
        The criterion behind ``val_loss``, whatever this training minimises.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
        Threads that torch may use; another number gives slightly different weights.
    last_epoch : int, optional
        Stop after this epoch of the schedule, as where the best one is known already.
    """

    model: ModelConfig
    optimization: OptimizationConfig
    max_epochs: int
    seed: int
    metric: str = "val_loss"
    mode: str = "min"
    yardstick: Criterion = "MSE"
    device: str = "cpu"
    threads: int = 1
    last_epoch: int | None = None


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a training, and how the training stands after it.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    value : float
        The chosen metric of this epoch.
    best : float
        The best value so far, this epoch included.
    best_epoch : int
        The first epoch that reached it.
    metrics : mapping of str to float
        All metrics of this epoch. ``train_loss`` is the mean of the training's own criterion
        over the epoch, while the weights were changing.
    best_metrics : mapping of str to float
        All metrics of the best epoch.
    curve : tuple of float
        The best value so far after each epoch from the first to this one.
    seconds : float
        Wall time of the epoch, evaluation included.
    stop_reason : str or None
        ``max_t``, ``last_epoch`` or ``early_stopping`` in the last report, else None.
    final : mapping of str to float, or None
        In the last report, the metrics of the best epoch's weights on validation molecules
        (``val_...``) and on training molecules (``train_...``, by the same yardstick), and
        ``generalisation_gap``.
    """

    epoch: int
    value: float
    best: float
    best_epoch: int
    metrics: Mapping[str, float]
    best_metrics: Mapping[str, float]
    curve: tuple[float, ...]
    seconds: float
    stop_reason: str | None = None
    final: Mapping[str, float] | None = None


def next_report(
    spec: TrainingSpec,
    previous: EpochReport | None,
    epoch: int,
    metrics: Mapping[str, float],
    seconds: float,
) -> EpochReport:
    """Judge an epoch by its metrics: whether it is the best so far, and whether the last.

    Raises
    ------
    NonFiniteLossError
        If the chosen metric is NaN or infinite.
    ConfigError
        If the chosen metric is not among the metrics.
    """
    value = _chosen(spec.metric, metrics, epoch)
    best, best_epoch, best_metrics = value, epoch, metrics
    if previous is not None and not _is_better(value, previous.best, spec.mode):
        best, best_epoch = previous.best, previous.best_epoch
        best_metrics = previous.best_metrics
    return EpochReport(
        epoch=epoch,
        value=value,
        best=best,
        best_epoch=best_epoch,
        metrics=metrics,
        best_metrics=best_metrics,
        curve=(*(() if previous is None else previous.curve), best),
        seconds=seconds,
        stop_reason=_stop_reason(spec, epoch, best_epoch),
    )


def _chosen(name: str, metrics: Mapping[str, float], epoch: int) -> float:
    if name not in metrics:
        raise ConfigError(
            f"metric: {name} is not reported by this training, or its validation labels do not "
            f"define it; choose one of {', '.join(sorted(metrics))}"
        )
    if not math.isfinite(metrics[name]):
        raise NonFiniteLossError(epoch, name)
    return metrics[name]


def _is_better(value: float, best: float, mode: str) -> bool:
    return value > best if mode == "max" else value < best


def _stop_reason(spec: TrainingSpec, epoch: int, best_epoch: int) -> str | None:
    if epoch >= spec.max_epochs:
        return "max_t"
    if spec.last_epoch is not None and epoch >= spec.last_epoch:
        return "last_epoch"
    patience = spec.optimization.patience
    is_out_of_patience = patience is not None and epoch - best_epoch >= patience
    return "early_stopping" if is_out_of_patience else None
