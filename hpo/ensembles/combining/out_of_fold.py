"""Predict every training row by models that were not trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.tables.data import FoldTables

__all__ = ["OutOfFold", "TrainingRows", "Unit", "out_of_fold", "training_rows"]

Float64 = NDArray[np.float64]
Unit = tuple[int, int]
"""A rank and a split: its folds' models together leave out each row once."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The rows that members are trained on, test rows excluded.

    Attributes
    ----------
    smiles, canonical : tuple of str
        As in the file, and RDKit's.
    targets : float64 array, shape (n, t)
        Labels in transformed units, NaN where one is missing.
    """

    smiles: tuple[str, ...]
    canonical: tuple[str, ...]
    targets: Float64

    def __len__(self) -> int:
        return len(self.smiles)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What each unit says of each training row.

    Attributes
    ----------
    rows : TrainingRows
    units : tuple of Unit
    columns : float64 array, shape (u, n, t)
        In transformed units, or probabilities of a classification. NaN where no fold of the
        unit left the row's molecule out of its training.
    folds : mapping of int to int64 array, shape (n,)
        By split, the fold that validated on the row; -1 where none did.
    trained : mapping of (split, fold) to bool array, shape (n,)
        Whether a fold's models were trained on the row's molecule.
    """

    rows: TrainingRows
    units: tuple[Unit, ...]
    columns: Float64
    folds: Mapping[int, NDArray[np.int64]]
    trained: Mapping[tuple[int, int], NDArray[np.bool_]]

    def of_rank(self, rank: int) -> NDArray[np.intp]:
        """Return the positions of a rank's units."""
        return np.flatnonzero([unit[0] == rank for unit in self.units])


def training_rows(folds: Sequence[FoldTables]) -> TrainingRows:
    """Return the rows of all folds together, those of the first one first.

    A molecule that the first fold lacks is added with the rows of the first fold that has it.
    """
    seen: set[str] = set()
    smiles: list[str] = []
    canonical: list[str] = []
    targets: list[Float64] = []
    for fold in folds:
        for part in _in_file_order(fold):
            new = [i for i, name in enumerate(part[1]) if name not in seen]
            smiles += [part[0][i] for i in new]
            canonical += [part[1][i] for i in new]
            targets.append(part[2][new])
        seen.update(canonical)
    return TrainingRows(tuple(smiles), tuple(canonical), np.concatenate(targets))


def out_of_fold(
    rows: TrainingRows,
    folds: Mapping[tuple[int, int], FoldTables],
    outputs: Mapping[tuple[int, int, int], Float64],
) -> OutOfFold:
    """Put the members' predictions of their validation molecules in the order of the rows.

    Parameters
    ----------
    rows : TrainingRows
    folds : mapping of (split, fold) to FoldTables
    outputs : mapping of (rank, split, fold) to array, shape (m, t)
        Of each member, for its fold's validation table.
    """
    units = tuple(sorted({(rank, split) for rank, split, _ in outputs}))
    columns = np.full((len(units), *rows.targets.shape), np.nan)
    for (rank, split, fold), values in outputs.items():
        places, positions = _left_out(rows, folds[split, fold])
        columns[units.index((rank, split)), places] = values[positions]
    splits = sorted({split for split, _ in folds})
    left_out = {split: _folds_of(rows, folds, split) for split in splits}
    trained = {place: _trained_on(rows, fold) for place, fold in folds.items()}
    return OutOfFold(rows, units, columns, left_out, trained)


def _in_file_order(
    fold: FoldTables,
) -> list[tuple[Sequence[str], Sequence[str], Float64]]:
    """Return smiles, canonical smiles and targets: of one file together, or part by part."""
    train, validation = fold.train, fold.validation
    if train.path != validation.path:
        return [(part.smiles, part.canonical, part.targets) for part in (train, validation)]
    order = np.argsort(np.concatenate([train.rows, validation.rows]), kind="stable")
    smiles, canonical = train.smiles + validation.smiles, train.canonical + validation.canonical
    targets = np.concatenate([train.targets, validation.targets])
    return [([smiles[i] for i in order], [canonical[i] for i in order], targets[order])]


def _left_out(rows: TrainingRows, fold: FoldTables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that a fold validates on, and where in its table their molecules are.

    A molecule that is trained on as well, where that was allowed, is not left out.
    """
    trained = set(fold.train.canonical)
    where = {name: i for i, name in enumerate(fold.validation.canonical) if name not in trained}
    places = [i for i, name in enumerate(rows.canonical) if name in where]
    positions = [where[rows.canonical[i]] for i in places]
    return np.array(places, dtype=np.int64), np.array(positions, dtype=np.int64)


def _trained_on(rows: TrainingRows, fold: FoldTables) -> NDArray[np.bool_]:
    trained = set(fold.train.canonical)
    return np.array([name in trained for name in rows.canonical], dtype=bool)


def _folds_of(
    rows: TrainingRows, folds: Mapping[tuple[int, int], FoldTables], split: int
) -> NDArray[np.int64]:
    numbers = np.full(len(rows), -1)
    for (of_split, fold), tables in folds.items():
        if of_split == split:
            numbers[_left_out(rows, tables)[0]] = fold
    return numbers
