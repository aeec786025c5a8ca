"""List the splits and folds that an ensemble is trained on, and read them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.configs.schema import SplitConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, WholeFile, read_fold
from chemprop_hpo.hpo.chemistry.tables.problems import raise_all

__all__ = ["FOLDS", "FoldPlace", "fold_list", "folding_note", "own_place", "read_folds"]

FOLDS = 5
"""Folds that a file is cut into where ``split.n_folds`` says nothing."""

_SPLIT, _FOLD = re.compile(r"split_(\d+)"), re.compile(r"fold_(\d+)")


class FoldPlace(NamedTuple):
    """One fold of one split, counted as the folders or the configuration count them."""

    split: int
    fold: int
    folder: Path | None = None
    """With train.csv and validation.csv; None where it is cut out of ``data.file``."""


def fold_list(
    config: SweepConfig, splits: Collection[int] | None = None, folds: Collection[int] | None = None
) -> list[FoldPlace]:
    """Return the folds to train on, split by split.

    Parameters
    ----------
    config : SweepConfig
        With ``data.data_dir``, a folder ``.../split_0/fold_0``, its siblings
        ``.../split_*/fold_*`` are the folds. With ``data.file``, those that ``split`` cuts, of
        `FOLDS` folds where it names no number of them; one where a column names the parts.
    splits, folds : collections of int, optional
        Which of them; all if not given.

    Raises
    ------
    UsageError
        If one that was asked for does not exist, with those that do.
    DataError
        If a split lacks a fold that another has, and nobody said which are meant.
    """
    there = {(place.split, place.fold): place for place in _all_places(config)}
    of_splits = _chosen("split", splits, {split for split, _ in there}, config)
    known_folds = {fold for split, fold in there if split in of_splits}
    of_folds = _chosen("fold", folds, known_folds, config)
    wanted = [(split, fold) for split in of_splits for fold in of_folds]
    if missing := [place for place in wanted if place not in there]:
        raise DataError(_holes(missing, config))
    return [there[place] for place in wanted]


def own_place(config: SweepConfig) -> FoldPlace:
    """Return the fold that the sweep itself trains on."""
    folder = config.data.data_dir
    if folder is None:
        return FoldPlace(0, 0)
    return _place_of(folder)


def folding_note(config: SweepConfig) -> str | None:
    """Return what a person should know of how the folds are cut, or None."""
    cut = config.split or SplitConfig()
    if config.data.data_dir is not None or cut.method == "column" or cut.n_folds is not None:
        return None
    return f"split.n_folds is not set: {config.data.file} is cut into {FOLDS} folds."


def read_folds(
    config: SweepConfig, places: Sequence[FoldPlace]
) -> dict[tuple[int, int], FoldTables]:
    """Read and check folds; ``data.file`` is read once for all of them.

    Returns
    -------
    dict
        By split and fold, in the order of ``places``.

    Raises
    ------
    DataError
        With a line for each problem of each fold, and which fold it is.
    """
    whole = WholeFile.read(_with_folds(config)) if config.data.data_dir is None else None
    tables: dict[tuple[int, int], FoldTables] = {}
    molecules: dict[str, Mol] = {}
    problems: list[str] = []
    for place in places:
        try:
            fold = _read(place, config, whole)
            tables[place.split, place.fold] = _sharing(fold, molecules)
        except DataError as problem:
            where = f"split {place.split} fold {place.fold}"
            problems += [f"{where}: {line}" for line in str(problem).splitlines()]
    if problems and tables:
        problems.append("--splits and --folds choose those that can be used")
    raise_all(problems)
    return tables


# ----------------------------------------------------------------------------- steps


def _read(place: FoldPlace, config: SweepConfig, whole: WholeFile | None) -> FoldTables:
    if whole is not None:
        return whole.fold(place.split, place.fold)
    data = config.data.model_copy(update={"data_dir": place.folder})
    return read_fold(config.model_copy(update={"data": data}))


def _sharing(tables: FoldTables, known: dict[str, Mol]) -> FoldTables:
    """Let all folds have one object for each SMILES: it takes some 18 KB, its row a few bytes."""
    return replace(
        tables,
        train=tables.train.sharing(known),
        validation=tables.validation.sharing(known),
        test=None if tables.test is None else tables.test.sharing(known),
    )


def _with_folds(config: SweepConfig) -> SweepConfig:
    """Cut a file into folds where only one validation part was asked for."""
    cut = config.split or SplitConfig()
    if cut.method == "column" or cut.n_folds is not None:
        return config
    folds = cut.model_copy(update={"n_folds": FOLDS, "val_fraction": None})
    return config.model_copy(update={"split": folds})


def _all_places(config: SweepConfig) -> list[FoldPlace]:
    if config.data.data_dir is not None:
        return _folders_beside(config.data.data_dir)
    cut = _with_folds(config).split or SplitConfig()
    if cut.method == "column":
        return [FoldPlace(0, 0)]
    return [FoldPlace(s, f) for s in range(cut.n_splits) for f in range(cut.n_folds or 1)]


def _folders_beside(folder: Path) -> list[FoldPlace]:
    """Return the folder and its siblings; a folder of another name has none."""
    split, fold = _numbers(folder)
    if fold is None:
        siblings: Iterable[Path] = ()
    elif split is None:
        siblings = folder.absolute().parent.glob("fold_*")
    else:
        siblings = folder.absolute().parent.parent.glob("split_*/fold_*")
    beside = [path for path in siblings if path.is_dir() and _is_like(_numbers(path), split)]
    return sorted({_place_of(path) for path in (folder.absolute(), *beside)})


def _is_like(numbers: tuple[int | None, int | None], split: int | None) -> bool:
    return numbers[1] is not None and (numbers[0] is None) == (split is None)


def _place_of(folder: Path) -> FoldPlace:
    split, fold = _numbers(folder)
    return FoldPlace(0, 0, folder) if fold is None else FoldPlace(split or 0, fold, folder)


def _numbers(folder: Path) -> tuple[int | None, int | None]:
    """Return the numbers of split and fold out of a folder's name and its parent's."""
    folder = folder.absolute()
    split, fold = _SPLIT.fullmatch(folder.parent.name), _FOLD.fullmatch(folder.name)
    return (int(split[1]) if split else None), (int(fold[1]) if fold else None)


# ----------------------------------------------------------------------------- what may be wrong


def _chosen(
    what: str, asked: Collection[int] | None, there: Collection[int], config: SweepConfig
) -> list[int]:
    known = sorted(there)
    if asked is None:
        return known
    if missing := sorted(set(asked) - set(known)):
        raise UsageError(
            f"there is no {what} {', '.join(map(str, missing))} of {_source(config)}; "
            f"there {f'is {what}' if len(known) == 1 else f'are {what}s'} "
            f"{', '.join(map(str, known))}"
        )
    return sorted(set(asked))


def _holes(missing: Sequence[tuple[int, int]], config: SweepConfig) -> str:
    names = ", ".join(f"split {split} fold {fold}" for split, fold in missing)
    return (
        f"{_source(config)}: there is no {names}, which others of its splits have; "
        "make what is missing, or choose with --splits and --folds those that are there"
    )


def _source(config: SweepConfig) -> str:
    folder = config.data.data_dir
    if folder is None:
        return str(config.data.file)
    has_split = _numbers(folder)[0] is not None
    return str(folder.parent.parent if has_split else folder.parent)
