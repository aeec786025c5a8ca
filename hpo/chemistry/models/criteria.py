"""The losses that trainings minimise."""

from __future__ import annotations

import torch
from chemprop.nn import RMSE, ChempropMetric
from torch import Tensor

__all__ = ["EpochLoss", "GuardedRMSE", "training_criterion"]


class GuardedRMSE(RMSE):
    """Chemprop's RMSE with a gradient of zero, not NaN, where every prediction is exact.

    The root's slope is infinite at zero. Below the smallest normal float the mean square is
    held there, and nothing flows back; above it this is Chemprop's RMSE bit for bit. It lives in
    the training only: a stored model names Chemprop's own.
    """

    def compute(self) -> Tensor:
        """Return the root of the mean square."""
        smallest = torch.finfo(self.total_loss.dtype).tiny
        return (self.total_loss / self.num_samples).clamp(min=smallest).sqrt()


def training_criterion(criterion: ChempropMetric) -> ChempropMetric:
    """Return a criterion of the training's own, equal to the model's and safe to differentiate."""
    if type(criterion) is RMSE:
        return GuardedRMSE(task_weights=criterion.task_weights)
    return criterion.clone()


class EpochLoss:
    """A criterion of each batch, and of all batches since the epoch began.

    What ``forward`` of torchmetrics does, without the care that it takes of other uses: that is a
    hundredth of a small model's step.

    Parameters
    ----------
    criterion : ChempropMetric
        Whose states are sums. It is used up.
    """

    def __init__(self, criterion: ChempropMetric) -> None:
        self._criterion = criterion
        self._sums: dict[str, Tensor] = {}

    def begin(self) -> None:
        """Forget all batches."""
        self._sums = {}

    def of_batch(self, outputs: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the loss of a batch, to be differentiated.

        Parameters
        ----------
        outputs, labels : Tensor, shape (n, t)
        known : bool tensor, shape (n, t)
            Which labels count.
        """
        criterion, kind = self._criterion, type(self._criterion)
        criterion.reset()
        kind.update(criterion, outputs, labels, known)  # not the instance's, which is wrapped
        loss: Tensor = kind.compute(criterion)
        for name, value in criterion.metric_state.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        return loss

    def of_epoch(self) -> float:
        """Return the loss of all batches together."""
        for name, value in self._sums.items():
            setattr(self._criterion, name, value)
        return float(type(self._criterion).compute(self._criterion))
