"""How near each training row is to what the models that left it out were trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.tables.molecules import read_molecules
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.predictor.similarity import fingerprint, nearest_similarities

__all__ = ["MOST_ROWS", "out_of_fold_similarity"]

Float64 = NDArray[np.float64]
Place = tuple[int, int]
"""A split and a fold."""

MOST_ROWS = 2000
"""Of more rows so many are drawn: each is held against all that were trained on."""


def out_of_fold_similarity(held_out: OutOfFold, seed: int) -> Float64:
    """Return each row's Tanimoto similarity to the nearest molecule of its models' training.

    Where several splits left a row out, the molecules of all their models count.

    Parameters
    ----------
    held_out : OutOfFold
    seed : int
        Of the draw of rows, where there are more than `MOST_ROWS`.

    Returns
    -------
    float64 array, shape (n,)
        NaN for a row that was not drawn, or that no model left out.
    """
    names = held_out.rows.canonical
    distinct = list(dict.fromkeys(names))
    read = zip(distinct, read_molecules(distinct), strict=True)
    molecules = {name: molecule for name, molecule in read if molecule is not None}
    prints = {name: fingerprint(molecule) for name, molecule in molecules.items()}
    similarity = np.full(len(names), np.nan)
    for places, rows in _by_models(held_out, _drawn(held_out, seed)):
        trained = np.any([held_out.trained[place] for place in places], axis=0)
        known = dict.fromkeys(names[i] for i in np.flatnonzero(trained))
        near = [row for row in rows if names[row] in molecules]
        similarity[near] = nearest_similarities(
            [molecules[names[row]] for row in near],
            [prints[name] for name in known if name in prints],
        )
    return similarity


def _drawn(held_out: OutOfFold, seed: int) -> NDArray[np.intp]:
    """Return the rows to look at: as many labels of each target, so that none goes without."""
    labelled = np.isfinite(held_out.rows.targets)
    if len(labelled) <= MOST_ROWS:
        return np.arange(len(labelled))
    generator, share = np.random.default_rng(seed), MOST_ROWS // labelled.shape[1]
    of_targets = (np.flatnonzero(of_target) for of_target in labelled.T)
    drawn = [generator.permutation(rows)[:share] for rows in of_targets]
    return np.unique(np.concatenate(drawn))


def _by_models(
    held_out: OutOfFold, rows: NDArray[np.intp]
) -> Iterator[tuple[list[Place], NDArray[np.intp]]]:
    """Group rows by the folds that left them out; rows that none left out are passed over."""
    splits = list(held_out.folds)
    numbers = np.stack([held_out.folds[split][rows] for split in splits], axis=1)
    for of_group in np.unique(numbers, axis=0):
        mine = rows[(numbers == of_group).all(axis=1)]
        pairs = zip(splits, of_group.tolist(), strict=True)
        if places := [(split, fold) for split, fold in pairs if fold >= 0]:
            yield places, mine
