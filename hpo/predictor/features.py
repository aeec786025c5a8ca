"""Featurise molecules for all members at once, and say of which molecules that fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from chemprop.data import MolGraph
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature
from chemprop_hpo.hpo.chemistry.features.featurising import graph_featurizer
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import molecule_vectors
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs

__all__ = ["Features", "featurise_molecules"]

Float32 = NDArray[np.float32]
Feature = TypeVar("Feature")
# As `molecule_vectors` ends its message: advice for who trains, not for who predicts.
_ADVICE = "; take the row out"


@dataclass(frozen=True, eq=False)
class Features:
    """Graphs and vectors of those molecules that have all that is asked for.

    Attributes
    ----------
    graphs : mapping
        Packed graphs by atom features; empty where no molecule is left.
    vectors : mapping
        float32 arrays of shape (n, d) by molecule feature, undefined values not yet filled.
    errors : list of str
        For each molecule that was given, why it was left out, or an empty text.
    """

    graphs: Mapping[AtomFeatures, PackedGraphs]
    vectors: Mapping[MoleculeFeature, Float32]
    errors: list[str]


def featurise_molecules(
    molecules: Sequence[Mol],
    atom_features: Collection[AtomFeatures],
    molecule_features: Collection[MoleculeFeature],
) -> Features:
    """Compute each of the features once; a molecule that lacks one is left out with a reason."""
    errors = [""] * len(molecules)
    graphs = {name: _graphs(molecules, name, errors) for name in sorted(atom_features)}
    vectors = {name: _vectors(molecules, name, errors) for name in sorted(molecule_features)}
    kept = [i for i, error in enumerate(errors) if not error]
    if not kept:
        return Features({}, {}, errors)
    return Features(
        {name: PackedGraphs.pack(_sound(of_mode, kept)) for name, of_mode in graphs.items()},
        {name: np.stack(_sound(of_name, kept)) for name, of_name in vectors.items()},
        errors,
    )


def _graphs(
    molecules: Sequence[Mol], atom_features: AtomFeatures, errors: list[str]
) -> list[MolGraph | None]:
    featurizer = graph_featurizer(atom_features)
    return [_tried(featurizer, molecule, i, errors) for i, molecule in enumerate(molecules)]


def _vectors(
    molecules: Sequence[Mol], feature: MoleculeFeature, errors: list[str]
) -> list[Float32 | None]:
    try:
        return list(molecule_vectors(molecules, feature, [""] * len(molecules)))
    except DataError:  # of one of them: find out which

        def alone(molecule: Mol) -> Float32:
            only: Float32 = molecule_vectors([molecule], feature, [""])[0]
            return only

        return [_tried(alone, molecule, i, errors) for i, molecule in enumerate(molecules)]


def _tried(
    compute: Callable[[Mol], Feature], molecule: Mol, i: int, errors: list[str]
) -> Feature | None:
    try:
        return compute(molecule)
    except Exception as error:  # featurisers are many, and each fails in its own way
        reason = " ".join(str(error).removeprefix(": ").split(_ADVICE)[0].split())
        errors[i] = reason or type(error).__name__
        return None


def _sound(features: Sequence[Feature | None], kept: Sequence[int]) -> list[Feature]:
    return [feature for i in kept if (feature := features[i]) is not None]
