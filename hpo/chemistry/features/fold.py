"""Hold everything that trainings on one fold need, as numpy arrays that processes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature, Transform
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
from chemprop_hpo.hpo.chemistry.features.scaling import Scaling, feature_scaling


@dataclass(frozen=True, eq=False)
class Fold:
    """Training and validation molecules of one fold, featurised once.

    Every array may be read-only and shared between processes: never write into one.

    Attributes
    ----------
    graphs : mapping
        Packed graphs of all n molecules, by the atom features that they were made with.
    vectors : mapping
        float32 arrays of shape (n, d) by molecule feature; all values are finite.
    targets : float64 array, shape (n, t)
        Labels with ``transforms`` applied, not standardised; NaN where one is missing.
    train, validation : int64 arrays
        Which of the n rows are for what.
    target_cols : tuple of str
    transforms : tuple of Transform
        What was applied to each target.
    weights : tuple of float
        Weight of each target; their mean is one.
    task : str
        ``regression`` or ``classification``.
    fillings : mapping
        What took the place of undefined values in ``vectors``, by molecule feature.
    notes : tuple of str
        What a person should know about the features, a line each.
    """

    graphs: Mapping[AtomFeatures, PackedGraphs]
    vectors: Mapping[MoleculeFeature, NDArray[np.float32]]
    targets: NDArray[np.float64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    target_cols: tuple[str, ...]
    transforms: tuple[Transform, ...]
    weights: tuple[float, ...]
    task: str
    fillings: Mapping[MoleculeFeature, Filling] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def scalings(self) -> Mapping[MoleculeFeature, Scaling]:
        """Mean and scale of each column of ``vectors`` among the training molecules.

        They take several times the memory of the vectors to compute, and are kept.
        """
        return {name: feature_scaling(name, v, self.train) for name, v in self.vectors.items()}

    def __getstate__(self) -> dict[str, Any]:
        # What is computed here is not computed again by each process that gets the fold.
        for packed in self.graphs.values():
            packed.fingerprint  # noqa: B018
        return vars(self) | {"scalings": self.scalings}

    @property
    def nbytes(self) -> int:
        """Memory that graphs, vectors and targets take, in bytes."""
        graphs = sum(packed.nbytes for packed in self.graphs.values())
        vectors = sum(array.nbytes for array in self.vectors.values())
        return graphs + vectors + self.targets.nbytes
