"""The losses that trainings minimise."""

from __future__ import annotations

import torch
from chemprop.nn import RMSE, ChempropMetric
from torch import Tensor


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
