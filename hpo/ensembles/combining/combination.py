"""Weigh the members of all ranks, target by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold, Unit
from chemprop_hpo.hpo.evaluation.greedy import Combination, choose_weights

__all__ = ["Weighting", "combined", "equal"]

Float64 = NDArray[np.float64]
MemberKey = tuple[int, int, int]
"""Rank, split and fold."""


@dataclass(frozen=True, eq=False)
class Weighting:
    """How much each unit counts for each target.

    Attributes
    ----------
    units : tuple of Unit
    weights : float64 array, shape (u, t)
        Each target's sum is one.
    row_weights : float64 array, shape (u, n, t)
        Of each training row, weights that its label had no part in finding.
    chosen : tuple of Combination
        How the weights of each target were found; empty where all count the same.
    """

    units: tuple[Unit, ...]
    weights: Float64
    row_weights: Float64
    chosen: tuple[Combination, ...] = ()

    def of_members(self, members: Sequence[MemberKey]) -> Mapping[MemberKey, Float64]:
        """Share each unit's weight among its members.

        Returns
        -------
        mapping
            Weights, shape (t,), of the members that have any.
        """
        folds = {unit: sum(member[:2] == unit for member in members) for unit in self.units}
        shares = {
            member: self.weights[self.units.index(member[:2])] / folds[member[:2]]
            for member in members
            if member[:2] in folds
        }
        return {member: share for member, share in shares.items() if share.any()}


def equal(held_out: OutOfFold, rank: int) -> Weighting:
    """Let all units of one rank count the same, and no other."""
    mine = held_out.of_rank(rank)
    weights = np.zeros((len(held_out.units), held_out.columns.shape[2]))
    weights[mine] = 1.0 / len(mine)
    row_weights = np.broadcast_to(weights[:, None, :], held_out.columns.shape)
    return Weighting(held_out.units, weights, row_weights)


def combined(held_out: OutOfFold, *, classification: bool, seed: int) -> Weighting:
    """Weigh all units by their out-of-fold predictions, each target by itself.

    Greedy selection is used only where it is better than the plain mean beyond doubt: see
    `chemprop_hpo.hpo.evaluation.greedy.choose_weights`.
    """
    labels = held_out.rows.targets
    chosen = tuple(
        choose_weights(
            held_out.columns[:, :, t].T,
            labels[:, t],
            molecules=held_out.rows.canonical,
            classification=classification,
            seed=seed,
        )
        for t in range(labels.shape[1])
    )
    weights = np.stack([one.weights for one in chosen], axis=1)
    row_weights = np.stack([one.row_weights.T for one in chosen], axis=2)
    return Weighting(held_out.units, weights, row_weights, chosen)
