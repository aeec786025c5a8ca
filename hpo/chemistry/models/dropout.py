"""Dropout with random numbers that cost less than what it is applied to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["dropped_out"]

_LEVELS = 2**16


def dropped_out(values: Tensor, p: float) -> Tensor:
    """Set numbers to zero at random and scale the others up, as ``torch.nn.functional.dropout``.

    Torch draws one number at a time, which in a message passing network on a CPU takes as long as
    a matrix product. Here 16 bits of a generator that torch's own seeds decide about each number
    (SFC64): with one seed of torch the same ones are dropped each time, but other ones than torch
    would drop.

    Parameters
    ----------
    values : Tensor
        Of any shape, on a CPU.
    p : float
        Probability of zero, to the nearest of 65,536 levels.
    """
    zeros = round(p * _LEVELS)
    if zeros == _LEVELS:
        return torch.zeros_like(values)
    generator = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
    draws = generator.random_raw(-(-values.numel() // 4)).view(np.uint16)[: values.numel()]
    kept = torch.from_numpy(draws >= zeros).view(values.shape)
    return values * kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - zeros))
