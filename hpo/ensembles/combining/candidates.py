"""What is compared: the single best model, each rank's ensemble, and all of them combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.ensembles.combining.combination import MemberKey, Weighting, combined, equal
from chemprop_hpo.hpo.ensembles.combining.judging import Predictions
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.evaluation.calibration import Calibration
from chemprop_hpo.hpo.evaluation.spread import mean_and_spread

__all__ = ["COMBINED", "SINGLE_BEST", "Candidate", "candidates"]

Float64 = NDArray[np.float64]

SINGLE_BEST = "single best"
COMBINED = "combined"


@dataclass(frozen=True, eq=False)
class Candidate:
    """Models that predict together.

    Attributes
    ----------
    name : str
        ``single best``, ``rank 1`` and so on, or ``combined``.
    shares : mapping
        Of each of its members, its weight for each target, shape (t,).
    row_weights : float64 array, shape (u, n, t)
        Of each unit for each training row, found without the row's label.
    out_of_fold : Predictions
        Of each training row, by members that were not trained on it.
    calibrations : tuple
        A Calibration for each target, or None for a classification.
    """

    name: str
    shares: Mapping[MemberKey, Float64]
    row_weights: Float64
    out_of_fold: Predictions
    calibrations: tuple[Calibration | None, ...]

    def say(self, outputs: Mapping[MemberKey, Float64]) -> Predictions:
        """Return what it says of new molecules, by what its members say, shape (n, t) each."""
        return _said(*self._weighed(outputs))

    def spread(
        self, outputs: Mapping[MemberKey, Float64], transforms: Sequence[Transform]
    ) -> Float64:
        """Return the standard deviation of what its members say, shape (n, t), original units."""
        return _original_spread(*self._weighed(outputs), transforms)

    def out_of_fold_spread(self, held_out: OutOfFold, transforms: Sequence[Transform]) -> Float64:
        """Return that of the out-of-fold predictions, shape (n, t), in original units."""
        return _original_spread(held_out.columns, self.row_weights, transforms)

    def _weighed(self, outputs: Mapping[MemberKey, Float64]) -> tuple[Float64, Float64]:
        columns = np.stack([outputs[member] for member in self.shares])
        return columns, np.stack(list(self.shares.values()))


def candidates(
    held_out: OutOfFold,
    members: Sequence[MemberKey],
    *,
    classification: bool,
    seed: int,
) -> tuple[list[Candidate], Weighting]:
    """Return the single best model, each rank, and the combination, which stands last.

    The single best is the first rank's first member: one model, trained on less than a sweep
    trains on where the sweep has fewer validation rows than a fold. With one rank its ensemble
    is the combination of its splits, if it has several.

    Parameters
    ----------
    held_out : OutOfFold
    members : sequence of MemberKey
        Those that were trained to their end.
    classification : bool
        Whether outputs are probabilities.
    seed : int
        Of the search for weights.

    Returns
    -------
    list of Candidate
    Weighting
        Of the combination.
    """
    weighting = combined(held_out, classification=classification, seed=seed)
    ranks = sorted({unit[0] for unit in held_out.units})
    weighted = [(f"rank {rank}", equal(held_out, rank)) for rank in ranks]
    weighted.append((COMBINED, weighting))
    found = [_single(held_out, min(members), classification)]
    for name, one in weighted:
        said = _said(held_out.columns, one.row_weights)
        calibrations = _calibrate(said, held_out.rows.targets, classification)
        found.append(Candidate(name, one.of_members(members), one.row_weights, said, calibrations))
    return found, weighting


def _single(held_out: OutOfFold, member: MemberKey, classification: bool) -> Candidate:
    """Return one model; of training rows it speaks of those of its own validation fold."""
    rank, split, fold = member
    unit = held_out.units.index((rank, split))
    column = held_out.columns[unit].copy()
    column[held_out.folds[split] != fold] = np.nan
    said = Predictions(column, np.full_like(column, np.nan))
    calibrations = _calibrate(said, held_out.rows.targets, classification)
    alone = np.arange(len(held_out.units)) == unit
    weights = np.broadcast_to(alone[:, None, None].astype(np.float64), held_out.columns.shape)
    share = np.ones(column.shape[1])
    return Candidate(SINGLE_BEST, {member: share}, weights, said, calibrations)


def _said(columns: Float64, weights: Float64) -> Predictions:
    """Return mean and spread by weights (m, t) or (m, n, t) of columns (m, n, t)."""
    targets = range(columns.shape[2])
    by_target = [mean_and_spread(columns[:, :, t], weights[..., t]) for t in targets]
    means, spreads = zip(*by_target, strict=True)
    return Predictions(np.stack(means, axis=1), np.stack(spreads, axis=1))


def _original_spread(
    columns: Float64, weights: Float64, transforms: Sequence[Transform]
) -> Float64:
    undone = [to_original_units(columns[:, :, t], one) for t, one in enumerate(transforms)]
    spreads = [mean_and_spread(one, weights[..., t])[1] for t, one in enumerate(undone)]
    return np.stack(spreads, axis=1)


def _calibrate(
    said: Predictions, labels: Float64, classification: bool
) -> tuple[Calibration | None, ...]:
    targets = range(labels.shape[1])
    if classification:
        return (None,) * len(targets)
    return tuple(Calibration.fit(said.std[:, t], labels[:, t] - said.mean[:, t]) for t in targets)
