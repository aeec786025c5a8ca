"""Combine what members say of molecules into a mean and a spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.evaluation.spread import mean_and_spread

__all__ = ["Combined", "combine"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Combined:
    """What members say together; all arrays are float64 of shape (n, t).

    Attributes
    ----------
    mean : array
        Weighted mean of the outputs: in transformed units, or a probability.
    std : array
        Their weighted standard deviation in the same units; NaN of a single member.
    original_mean : array
        ``mean`` with the transform undone.
    original_std : array
        Weighted standard deviation of the outputs, each with its transform undone.
    """

    mean: Float64
    std: Float64
    original_mean: Float64
    original_std: Float64


def combine(outputs: Float64, weights: Float64, transforms: Sequence[Transform]) -> Combined:
    """Combine members' outputs, target by target.

    Parameters
    ----------
    outputs : float64 array, shape (m, n, t)
        Of each member, in transformed units or as probabilities.
    weights : float64 array, shape (m, t)
        Shares that sum to one for each target.
    transforms : sequence of Transform
        Of each target.
    """
    columns = [
        _target(outputs[:, :, i], weights[:, i], transform)
        for i, transform in enumerate(transforms)
    ]
    return Combined(*(np.stack(parts, axis=1) for parts in zip(*columns, strict=True)))


def _target(outputs: Float64, weights: Float64, transform: Transform) -> tuple[Float64, ...]:
    mean, std = mean_and_spread(outputs, weights)
    undone = to_original_units(outputs, transform)
    return mean, std, to_original_units(mean, transform), mean_and_spread(undone, weights)[1]
