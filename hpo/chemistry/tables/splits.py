"""Cut one table into training, validation and test rows, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import SplitConfig
from chemprop_hpo.hpo.chemistry.tables.molecule_groups import clusters, equal_molecules, scaffolds
from chemprop_hpo.hpo.chemistry.tables.problems import named_rows

Rows = NDArray[np.int64]

DEFAULT_VAL_FRACTION = 0.1

_PART_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of each part, ascending; every row is in exactly one."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    molecules: Sequence[Mol],
    canonical: Sequence[str],
    config: SplitConfig,
    seed: int,
    *,
    split: int = 0,
    fold: int = 0,
    groups: Rows | None = None,
) -> Parts:
    """Cut rows into parts by ``random``, ``scaffold`` or ``kmeans``.

    Test rows are set aside first and are the same for every split and fold, so that models
    trained on different splits can be judged together on rows that none of them has seen.
    Then either one of ``n_folds`` is the validation part, or ``val_fraction`` of all rows
    (one tenth where neither is given). Equal molecules, scaffolds and clusters stay in one part;
    a part never exceeds its size, and is smaller by less than the smallest group left over.

    Parameters
    ----------
    molecules : sequence of Mol
    canonical : sequence of str
        Their canonical SMILES.
    config : SplitConfig
    seed : int
        Used where ``config.seed`` is not given.
    split, fold : int
        Which of the ``n_splits`` and ``n_folds``, from 0.
    groups : int64 array, shape (n,), optional
        From `groups_of`, where several folds are cut out of the same rows.

    Raises
    ------
    DataError
        If there is no such split or fold.
    """
    _check_exists(config, split, fold)
    if groups is None:
        groups = groups_of(molecules, canonical, config, seed)
    seed = seed if config.seed is None else config.seed
    everything = np.arange(len(groups))
    test = _fill(groups, everything, config.test_fraction, _rng(seed, 0))
    rest = np.setdiff1d(everything, test)
    rng = _rng(seed, 1 + split)
    if config.n_folds is None:
        fraction = DEFAULT_VAL_FRACTION if config.val_fraction is None else config.val_fraction
        validation = _fill(groups, rest, fraction, rng)
    else:
        validation = _folds(groups, rest, config.n_folds, rng)[fold]
    return Parts(np.setdiff1d(rest, validation), validation, test)


def groups_of(
    molecules: Sequence[Mol], canonical: Sequence[str], config: SplitConfig, seed: int
) -> Rows:
    """Return the number of each row's group, which stays in one part.

    Parameters
    ----------
    molecules, canonical, config, seed
        As for `split_rows`.
    """
    if config.method == "scaffold":
        return scaffolds(molecules)
    if config.method == "kmeans":
        return clusters(molecules, canonical, seed if config.seed is None else config.seed)
    return equal_molecules(canonical)


def parts_of_column(words: Sequence[str], lines: Sequence[int]) -> Parts:
    """Read the parts from a column that says ``train``, ``val``/``validation`` or ``test``.

    Parameters
    ----------
    words : sequence of str
        What the column says, in upper or lower case.
    lines : sequence of int
        Where each word stands, for messages.

    Raises
    ------
    DataError
        If a word is none of these.
    """
    parts = [_PART_OF_WORD.get(word.casefold()) for word in words]
    if None in parts:
        wrong = [i for i, part in enumerate(parts) if part is None]
        raise DataError(
            f"{words[wrong[0]]!r} and the like are no parts, in "
            f"{named_rows([lines[i] for i in wrong])}; write train, validation or test"
        )
    named = np.array(parts)
    return Parts(*(np.flatnonzero(named == part) for part in ("train", "validation", "test")))


def _check_exists(config: SplitConfig, split: int, fold: int) -> None:
    for name, asked, count in (
        ("split", split, config.n_splits),
        ("fold", fold, config.n_folds or 1),
    ):
        if not 0 <= asked < count:
            raise DataError(
                f"split: there is no {name} {asked}; split.n_{name}s gives {count}, counted from 0"
            )


def _fill(groups: Rows, rows: Rows, fraction: float, rng: np.random.Generator) -> Rows:
    """Take whole groups out of ``rows``, up to a fraction of all rows."""
    if fraction == 0:
        return rows[:0]
    room = max(1, round(fraction * len(groups)))
    taken: list[Rows] = []
    for members in _in_filling_order(groups, rows, room, rng):
        if len(members) <= room:
            taken.append(members)
            room -= len(members)
    return np.sort(np.concatenate([rows[:0], *taken]))


def _in_filling_order(groups: Rows, rows: Rows, room: int, rng: np.random.Generator) -> list[Rows]:
    """Shuffle the groups; those that would take more than half of a part come last."""
    members = _members(groups, rows, rng)
    return sorted(members, key=lambda group: 2 * len(group) > max(room, 2))


def _folds(groups: Rows, rows: Rows, n_folds: int, rng: np.random.Generator) -> list[Rows]:
    """Deal whole groups out to folds, large ones first, each to the smallest fold."""
    folds: list[list[Rows]] = [[rows[:0]] for _ in range(n_folds)]
    sizes = [0] * n_folds
    for members in sorted(_members(groups, rows, rng), key=len, reverse=True):
        smallest = sizes.index(min(sizes))
        folds[smallest].append(members)
        sizes[smallest] += len(members)
    return [np.sort(np.concatenate(fold)) for fold in folds]


def _members(groups: Rows, rows: Rows, rng: np.random.Generator) -> list[Rows]:
    by_group = rows[np.argsort(groups[rows], kind="stable")]
    borders = np.flatnonzero(np.diff(groups[by_group])) + 1
    members = np.split(by_group, borders) if len(rows) else []
    return [members[i] for i in rng.permutation(len(members))]


def _rng(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, purpose])
