"""Keep the rows of one molecule together where rows are drawn or cut.

Repeated measurements of a molecule are no independent evidence: drawn singly they make an
interval too narrow. What is drawn with replacement are therefore molecules, each with all its
rows: the cluster bootstrap of Field and Welsh, J. R. Stat. Soc. B 69, 369 (2007).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["drawn_counts", "drawn_rows", "numbered"]

Int64 = NDArray[np.int64]


def numbered(molecules: ArrayLike | None, there: NDArray[np.bool_]) -> Int64:
    """Give each molecule of the rows that count a number, in the order of its first row.

    Parameters
    ----------
    molecules : array, shape (n,), optional
        What is equal for rows of one molecule, such as canonical SMILES. Without it each row
        is a molecule of its own.
    there : bool array, shape (n,)
        Which rows count, m of them.

    Returns
    -------
    int64 array, shape (m,)
        From 0, without gaps.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if molecules is None:
        return np.arange(there.sum())
    names = np.asarray(molecules, dtype=object)
    if names.shape != there.shape:
        raise ValueError(f"molecules have the shape {names.shape}; {there.shape} was expected")
    first: dict[object, int] = {}
    found = [first.setdefault(name, len(first)) for name in names[there].tolist()]
    return np.array(found, dtype=np.int64)


def drawn_rows(numbers: Int64, resamples: int, seed: int) -> Iterator[Int64]:
    """Yield the rows of as many molecules as there are, drawn with replacement.

    Parameters
    ----------
    numbers : int64 array, shape (n,)
        Of `numbered`.
    resamples : int
        How often molecules are drawn; never if there are none.
    seed : int
    """
    sizes = np.bincount(numbers)
    starts = np.cumsum(sizes) - sizes
    by_molecule = np.argsort(numbers, kind="stable")
    for drawn in _drawn_molecules(len(sizes), resamples, seed):
        if len(sizes) == len(numbers):
            yield drawn
            continue
        ends = np.cumsum(sizes[drawn])
        shifts = starts[drawn] - ends + sizes[drawn]
        yield by_molecule[np.arange(ends[-1]) + np.repeat(shifts, sizes[drawn])]


def drawn_counts(numbers: Int64, resamples: int, seed: int) -> Iterator[Int64]:
    """Yield how often each row is among `drawn_rows`, shape (n,)."""
    n_molecules = len(np.unique(numbers))
    for drawn in _drawn_molecules(n_molecules, resamples, seed):
        counts = np.bincount(drawn, minlength=n_molecules)
        yield counts if n_molecules == len(numbers) else counts[numbers]


def _drawn_molecules(n_molecules: int, resamples: int, seed: int) -> Iterator[Int64]:
    random = np.random.default_rng(seed)
    for _ in range(resamples if n_molecules else 0):
        yield random.integers(n_molecules, size=n_molecules)
