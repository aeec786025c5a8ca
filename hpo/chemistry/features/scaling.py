"""Means and standard deviations of the training molecules, for targets and for descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from chemprop_hpo.configs.schema import ModelConfig, MoleculeFeature

if TYPE_CHECKING:  # a fold keeps its scalings
    from chemprop_hpo.hpo.chemistry.features.fold import Fold

Float64 = NDArray[np.float64]

# Fingerprints are bits or counts, and the normalised descriptors are cumulative probabilities.
TAKEN_AS_THEY_ARE: frozenset[MoleculeFeature] = frozenset(
    {"morgan_binary", "morgan_count", "v1_rdkit_2d_normalized"}
)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each column; a constant column has a scale of one.

    Attributes
    ----------
    means, scales : float64 arrays, shape (d,)
    """

    means: Float64
    scales: Float64

    @classmethod
    def identity(cls, width: int) -> Scaling:
        """Leave ``width`` columns as they are."""
        return cls(np.zeros(width), np.ones(width))

    @classmethod
    def of(cls, values: NDArray[Any]) -> Scaling:
        """Take both from the rows of ``values``, shape (n, d), leaving NaN out."""
        scaler = StandardScaler().fit(np.asarray(values, dtype=np.float64))
        return cls(scaler.mean_, scaler.scale_)

    def standardise(self, values: NDArray[Any]) -> Float64:
        """Return values in standard deviations from the mean."""
        standardised: Float64 = (values - self.means) / self.scales
        return standardised


def target_scaling(fold: Fold) -> Scaling:
    """Scale targets by their training labels; the classes of a classification stay 0 and 1."""
    if fold.task == "classification":
        return Scaling.identity(len(fold.target_cols))
    return Scaling.of(fold.targets[fold.train])


def vector_scaling(fold: Fold, model: ModelConfig) -> Scaling | None:
    """Scale the molecule features of a model, side by side; None where it has none."""
    parts = [fold.scalings[name] for name in model.molecule_feature_names]
    if not parts:
        return None
    return Scaling(
        np.concatenate([part.means for part in parts]),
        np.concatenate([part.scales for part in parts]),
    )


def feature_scaling(
    feature: MoleculeFeature, vectors: NDArray[np.float32], train: NDArray[np.int64]
) -> Scaling:
    """Scale a molecule feature, shape (n, d), by the rows of the training molecules."""
    if feature in TAKEN_AS_THEY_ARE:
        return Scaling.identity(vectors.shape[1])
    return Scaling.of(vectors[train])
