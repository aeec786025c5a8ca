"""Featurise the molecules of many folds once, each molecule once, and give each fold its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature, SweepConfig, Transform
from chemprop_hpo.hpo.chemistry.features.arrays import read_only
from chemprop_hpo.hpo.chemistry.features.featurising import featurise, fill_vectors, raw_vectors
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, Table

__all__ = ["FoldRows", "MoleculeSet", "featurise_folds"]


@dataclass(frozen=True, eq=False)
class FoldRows:
    """One fold of a `MoleculeSet`: training rows first, then validation rows.

    Attributes
    ----------
    molecules : int64 array, shape (n,)
        Which of the set's molecules each row is.
    targets : float64 array, shape (n, t)
        Labels in transformed units, NaN where one is missing.
    n_train : int
    """

    molecules: NDArray[np.int64]
    targets: NDArray[np.float64]
    n_train: int


@dataclass(frozen=True, eq=False)
class MoleculeSet:
    """The distinct molecules of several folds, featurised once, as arrays that processes share.

    Attributes
    ----------
    graphs : mapping
        Packed graphs of all m molecules, by the atom features that they were made with.
    vectors : mapping
        float32 arrays of shape (m, d) by molecule feature, as computed: NaN or infinite where
        a value does not exist.
    folds : mapping of (split, fold) to FoldRows
    target_cols, transforms, weights, task
        As in `chemprop_hpo.hpo.chemistry.features.fold.Fold`.
    """

    graphs: Mapping[AtomFeatures, PackedGraphs]
    vectors: Mapping[MoleculeFeature, NDArray[np.float32]]
    folds: Mapping[tuple[int, int], FoldRows]
    target_cols: tuple[str, ...]
    transforms: tuple[Transform, ...]
    weights: tuple[float, ...]
    task: str

    def __len__(self) -> int:
        return len(next(iter(self.graphs.values())))

    @property
    def nbytes(self) -> int:
        """Memory that graphs and vectors take, in bytes."""
        graphs = sum(packed.nbytes for packed in self.graphs.values())
        return graphs + sum(array.nbytes for array in self.vectors.values())

    def fold(
        self,
        split: int,
        fold: int,
        atom_features: Collection[AtomFeatures] | None = None,
        molecule_features: Collection[MoleculeFeature] | None = None,
    ) -> Fold:
        """Return one fold, the same as `featurise_fold` makes of its tables.

        Parameters
        ----------
        split, fold : int
        atom_features, molecule_features : collections, optional
            What a training asks for; all that there are if not given. Molecule features are
            copied, since each fold fills its own gaps; graphs share the memory of the set.
        """
        rows = self.folds[split, fold]
        atoms = self.graphs if atom_features is None else atom_features
        features = self.vectors if molecule_features is None else molecule_features
        raw = {name: self.vectors[name][rows.molecules] for name in sorted(features)}
        vectors, fillings, notes = fill_vectors(raw, rows.n_train)
        return Fold(
            graphs={name: self.graphs[name].take(rows.molecules) for name in sorted(atoms)},
            vectors=vectors,
            targets=rows.targets,
            train=read_only(np.arange(rows.n_train)),
            validation=read_only(np.arange(rows.n_train, len(rows.molecules))),
            target_cols=self.target_cols,
            transforms=self.transforms,
            weights=self.weights,
            task=self.task,
            fillings=fillings,
            notes=notes,
        )


def featurise_folds(
    folds: Mapping[tuple[int, int], FoldTables],
    config: SweepConfig,
    atom_features: Collection[AtomFeatures],
    molecule_features: Collection[MoleculeFeature],
) -> MoleculeSet:
    """Featurise the training and validation molecules of all folds; test rows stay untouched.

    Parameters
    ----------
    folds : mapping of (split, fold) to FoldTables
    config : SweepConfig
        Gives targets, transforms, weights and the task.
    atom_features, molecule_features : collections
        All that any of the trainings may ask for.

    Raises
    ------
    DataError
        If a molecule feature cannot be computed for a molecule, with its file and row.
    """
    numbers, firsts = _distinct(_parts(folds.values()))
    molecules = [table.molecules[row] for table, row in firsts]
    places = [f"{table.path}: row {table.rows[row]}" for table, row in firsts]
    raw = raw_vectors(molecules, molecule_features, places)
    return MoleculeSet(
        graphs={mode: featurise(molecules, mode) for mode in sorted(atom_features)},
        vectors={name: read_only(values) for name, values in raw.items()},
        folds={place: _rows(tables, numbers) for place, tables in folds.items()},
        target_cols=config.data.target_cols,
        transforms=config.data.transforms,
        weights=config.data.weights,
        task=config.task,
    )


def _parts(folds: Iterable[FoldTables]) -> Iterable[Table]:
    return (part for tables in folds for part in (tables.train, tables.validation))


def _distinct(parts: Iterable[Table]) -> tuple[dict[str, int], list[tuple[Table, int]]]:
    """Give each SMILES as written, which orders atoms and bonds, a number."""
    numbers: dict[str, int] = {}
    firsts: list[tuple[Table, int]] = []
    for part in parts:
        for row, smiles in enumerate(part.smiles):
            if smiles not in numbers:
                numbers[smiles] = len(firsts)
                firsts.append((part, row))
    return numbers, firsts


def _rows(tables: FoldTables, numbers: Mapping[str, int]) -> FoldRows:
    parts = (tables.train, tables.validation)
    smiles = [text for part in parts for text in part.smiles]
    return FoldRows(
        molecules=read_only(np.array([numbers[text] for text in smiles], dtype=np.int64)),
        targets=read_only(np.concatenate([part.targets for part in parts])),
        n_train=len(tables.train),
    )
