"""Featurise the molecules of a fold once, for all trials of a sweep."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from chemprop.featurizers import (
    MultiHotBondFeaturizer,
    SimpleMoleculeMolGraphFeaturizer,
    get_multi_hot_atom_featurizer,
)
from chemprop.featurizers.bond import RIGRBondFeaturizer
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature, SweepConfig
from chemprop_hpo.hpo.chemistry.features.arrays import read_only
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling, molecule_vectors
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables

__all__ = [
    "Fold",
    "PackedGraphs",
    "feature_dims",
    "featurise",
    "featurise_fold",
    "fill_vectors",
    "graph_featurizer",
    "raw_vectors",
]

Float32 = NDArray[np.float32]


def featurise_fold(
    tables: FoldTables,
    config: SweepConfig,
    atom_features: Collection[AtomFeatures],
    molecule_features: Collection[MoleculeFeature],
) -> Fold:
    """Featurise the training and validation molecules of a fold; test rows stay untouched.

    Parameters
    ----------
    tables : FoldTables
    config : SweepConfig
        Gives targets, transforms, weights and the task.
    atom_features, molecule_features : collections
        All that any trial of the sweep may ask for.

    Raises
    ------
    DataError
        If a molecule feature cannot be computed for a molecule, with its file and row.
    """
    parts = (tables.train, tables.validation)
    molecules = [molecule for part in parts for molecule in part.molecules]
    places = [place for part in parts for place in part.places]
    n_train = len(tables.train)
    raw = raw_vectors(molecules, molecule_features, places)
    vectors, fillings, notes = fill_vectors(raw, n_train)
    return Fold(
        graphs={mode: featurise(molecules, mode) for mode in sorted(atom_features)},
        vectors=vectors,
        targets=read_only(np.concatenate([part.targets for part in parts])),
        train=read_only(np.arange(n_train)),
        validation=read_only(np.arange(n_train, len(molecules))),
        target_cols=config.data.target_cols,
        transforms=config.data.transforms,
        weights=config.data.weights,
        task=config.task,
        fillings=fillings,
        notes=notes,
    )


def featurise(molecules: Sequence[Mol], atom_features: AtomFeatures) -> PackedGraphs:
    """Turn molecules, at least one, into packed graphs with the given atom features."""
    featurizer = graph_featurizer(atom_features)
    return PackedGraphs.pack(map(featurizer, molecules))


def graph_featurizer(atom_features: AtomFeatures) -> SimpleMoleculeMolGraphFeaturizer:
    """Build Chemprop's graph featuriser; RIGR atoms go with RIGR bonds, as in its own CLI."""
    bonds = RIGRBondFeaturizer() if atom_features == "RIGR" else MultiHotBondFeaturizer()
    return SimpleMoleculeMolGraphFeaturizer(get_multi_hot_atom_featurizer(atom_features), bonds)


def feature_dims(atom_features: AtomFeatures) -> tuple[int, int]:
    """Return the width of an atom's and of a bond's features."""
    d_v, d_e = graph_featurizer(atom_features).shape
    return d_v, d_e


def raw_vectors(
    molecules: Sequence[Mol], features: Collection[MoleculeFeature], places: Sequence[str]
) -> dict[MoleculeFeature, Float32]:
    """Compute molecule features; values that do not exist are still NaN or infinite.

    Raises
    ------
    DataError
        If one cannot be computed for a molecule, with the molecule's place.
    """
    return {feature: molecule_vectors(molecules, feature, places) for feature in sorted(features)}


def fill_vectors(
    raw: Mapping[MoleculeFeature, Float32], n_train: int
) -> tuple[dict[MoleculeFeature, Float32], dict[MoleculeFeature, Filling], tuple[str, ...]]:
    """Fill in what does not exist, by the first ``n_train`` molecules.

    Returns
    -------
    vectors, fillings : dict
        All values finite, and what took the place of others.
    notes : tuple of str
        Lines for people on how many values were filled in.
    """
    vectors: dict[MoleculeFeature, Float32] = {}
    fillings, notes = {}, []
    for feature, values in raw.items():
        fillings[feature] = Filling.of(values[:n_train])
        vectors[feature] = read_only(fillings[feature].fill(values))
        notes += _filling_note(feature, values)
    return vectors, fillings, tuple(notes)


def _filling_note(feature: MoleculeFeature, raw: Float32) -> list[str]:
    undefined = ~np.isfinite(raw)
    if not undefined.any():
        return []
    return [
        f"{feature}: {undefined.sum():,} values of {undefined.any(axis=1).sum():,} molecules are "
        f"undefined or too large, in {undefined.any(axis=0).sum():,} of {raw.shape[1]:,} "
        "descriptors; the training mean stands in for them"
    ]
