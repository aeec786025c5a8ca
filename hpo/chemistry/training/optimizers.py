"""AdamW and the learning rate over a training."""

from __future__ import annotations

from typing import Any

from chemprop.schedulers import build_NoamLike_LRSched
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from chemprop_hpo.configs.schema import OptimizationConfig


def build_optimizer(model: nn.Module, optimization: OptimizationConfig) -> AdamW:
    """Build AdamW, with weight decay on weights but not on biases, norms and slopes.

    Without weight decay it is Adam, as Chemprop trains.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[_decays(name, parameter)].append(parameter)
    settings: list[dict[str, Any]] = [
        {"params": groups[True], "weight_decay": optimization.weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
    # All weights in one call, where there is such a kernel: on CPUs and CUDA.
    return AdamW(settings, lr=optimization.learning_rates[0], fused=True)


def build_schedule(
    optimizer: AdamW, optimization: OptimizationConfig, max_epochs: int, steps_per_epoch: int
) -> LambdaLR:
    """Build Chemprop's schedule in steps: linear warm-up, then exponential decay to the end.

    A warm-up longer than the training is cut to it. ``optimization.lr`` gives a constant rate.
    """
    warmup_epochs = min(optimization.warmup_epochs, max_epochs)
    return build_NoamLike_LRSched(
        optimizer,
        warmup_epochs * steps_per_epoch,
        (max_epochs - warmup_epochs) * steps_per_epoch,
        *optimization.learning_rates,
    )


def _decays(name: str, parameter: nn.Parameter) -> bool:
    # The parameters of a norm, and the slope of a PReLU, have one dimension.
    return parameter.ndim > 1 and not name.endswith("bias")
