"""Read the tables of one fold, and say all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import SplitConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data_files import data_files, file_fingerprints
from chemprop_hpo.hpo.chemistry.tables.data_report import DataReport, FileReport, PartReport
from chemprop_hpo.hpo.chemistry.tables.problems import counted, named_rows, raise_all
from chemprop_hpo.hpo.chemistry.tables.splits import Parts, groups_of, parts_of_column, split_rows
from chemprop_hpo.hpo.chemistry.tables.table import ReadTable, Table, read_table

__all__ = ["DataReport", "FoldTables", "Table", "WholeFile", "file_fingerprints", "read_fold"]


NEED_TWO_LABELS = ("r2", "roc_auc", "prc_auc")
"""Figures that one label, however often it stands there, does not define."""


@dataclass(frozen=True, eq=False)
class FoldTables:
    """The parts of one fold; ``test`` is None where test rows are in a file of their own."""

    train: Table
    validation: Table
    test: Table | None
    report: DataReport

    @property
    def parts(self) -> dict[str, Table]:
        """The parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: table for name, table in parts.items() if table is not None}


def read_fold(config: SweepConfig, split: int = 0, fold: int = 0) -> FoldTables:
    """Read the training and validation rows of a fold, and check them.

    ``data.test_file`` and ``data.blind_file`` are not opened here.

    Parameters
    ----------
    config : SweepConfig
    split, fold : int
        Which split and fold to cut ``data.file`` into; ``data.data_dir`` is itself one fold.

    Raises
    ------
    DataError
        With a line for each problem: what, in which file, column and rows, and what to do.
    """
    if config.data.data_dir is not None:
        return _checked(_read_folder(config, split, fold), config)
    return WholeFile.read(config).fold(split, fold)


@dataclass(frozen=True, eq=False)
class WholeFile:
    """The usable rows of ``data.file``, to be cut into any of its folds."""

    config: SweepConfig
    table: ReadTable
    split: SplitConfig
    groups: NDArray[np.int64] | None
    """Of each row, which of them stay together; None where a column names the parts."""
    notes: tuple[str, ...]

    @classmethod
    def read(cls, config: SweepConfig) -> WholeFile:
        """Read the file.

        Raises
        ------
        DataError
            With a line for each problem of the file.
        """
        path = data_files(config.data)["file"]
        split, notes = _split_config(config)
        column = _part_column(split)
        read = read_table(path, config, [column] if column else [])
        rows = read.table
        groups = None if column else groups_of(rows.molecules, rows.canonical, split, config.seed)
        return cls(config, read, split, groups, notes)

    def fold(self, split: int = 0, fold: int = 0) -> FoldTables:
        """Cut out one fold and check it, as `read_fold` does."""
        return _checked(self._cut(split, fold), self.config)

    def _cut(self, split: int, fold: int) -> _Source:
        parts = self._parts(split, fold)
        rows = {"train": parts.train, "validation": parts.validation}
        if self.split.test_fraction or len(parts.test):
            rows["test"] = parts.test
        tables = {name: self.table.table.take(positions) for name, positions in rows.items()}
        return _Source((self.table.report,), tables, self.notes)

    def _parts(self, split: int, fold: int) -> Parts:
        table, cut = self.table.table, self.split
        if self.groups is not None:
            return split_rows(
                table.molecules,
                table.canonical,
                cut,
                self.config.seed,
                split=split,
                fold=fold,
                groups=self.groups,
            )
        return _parts_of_column(self.table, cut.column or "", split, fold)


class _Source(NamedTuple):
    """What the files of a fold hold: reports, the table of each part, notes for people."""

    files: tuple[FileReport, ...]
    tables: dict[str, Table]
    notes: tuple[str, ...]


def _read_folder(config: SweepConfig, split: int, fold: int) -> _Source:
    if split or fold:
        raise DataError(
            f"{config.data.data_dir}: is one fold; there is no split {split} fold {fold} in it"
        )
    files = data_files(config.data)
    read = _read_all(partial(read_table, path, config) for path in files.values())
    tables = dict(zip(files, (each.table for each in read), strict=True))
    return _Source(tuple(each.report for each in read), tables, ())


def _split_config(config: SweepConfig) -> tuple[SplitConfig, tuple[str, ...]]:
    cut = config.split or SplitConfig()
    if cut.method == "column":
        return cut.model_copy(update={"test_fraction": 0.0}), ()
    if config.data.test_file is None:
        return cut, ()
    note = f"test rows: all of {config.data.test_file}; none are set aside from {config.data.file}"
    return cut.model_copy(update={"test_fraction": 0.0}), (note,)


def _part_column(cut: SplitConfig) -> str | None:
    if cut.method != "column":
        return None
    if cut.column is None:
        raise DataError("split: method column needs split.column, the column that names the parts")
    return cut.column


def _parts_of_column(read: ReadTable, column: str, split: int, fold: int) -> Parts:
    table = read.table
    if split or fold:
        raise DataError(
            f"{table.path}: column {column!r} gives one split with one fold; "
            f"there is no split {split} fold {fold}"
        )
    try:
        return parts_of_column(read.extra[column], table.rows.tolist())
    except DataError as problem:
        raise DataError(f"{table.path}: column {column!r}: {problem}") from None


def _read_all(readers: Iterable[Callable[[], ReadTable]]) -> list[ReadTable]:
    tables, problems = [], []
    for read in readers:
        try:
            tables.append(read())
        except DataError as problem:
            problems.append(str(problem))
    raise_all(problems)
    return tables


# ------------------------------------------------------------------------ what may be wrong


def _checked(source: _Source, config: SweepConfig) -> FoldTables:
    tables = source.tables
    raise_all(_part_problems(tables, config))
    shared, problems = _shared_molecules(tables, config.data.allow_duplicates)
    raise_all(problems)
    report = DataReport(
        files=source.files,
        parts=tuple(_part_report(name, table, config) for name, table in tables.items()),
        shared=shared,
        notes=source.notes,
    )
    return FoldTables(tables["train"], tables["validation"], tables.get("test"), report)


def _part_problems(tables: dict[str, Table], config: SweepConfig) -> list[str]:
    problems = [
        f"{table.path}: the {name} part is empty; {_empty_advice(name, config)}"
        for name, table in tables.items()
        if not len(table)
    ]
    if problems:
        return problems
    for i, target in enumerate(config.data.target_cols):
        problems += _training_problems(tables["train"], i, target)
        problems += _validation_problems(tables["validation"], i, target)
    return problems or _metric_problems(tables["validation"], config)


def _empty_advice(name: str, config: SweepConfig) -> str:
    method = config.split.method if config.split else "random"
    if config.data.data_dir is not None or method == "column":
        return f"give it rows, at least one for {name}"
    return f"more rows, other fractions or another split.method than {method} would fill it"


def _training_problems(train: Table, i: int, target: str) -> list[str]:
    labels = train.targets[:, i]
    labels = labels[~np.isnan(labels)]
    advice = f"take {target!r} out of data.target_cols, or give it other labels"
    if not len(labels):
        return [f"{train.path}: target {target!r} has no label in the training part; {advice}"]
    if labels.min() == labels.max():
        return [
            f"{train.path}: target {target!r} is constant in the training part "
            f"({counted(len(labels), 'label')}); {advice}"
        ]
    return []


def _validation_problems(validation: Table, i: int, target: str) -> list[str]:
    if not np.isnan(validation.targets[:, i]).all():
        return []
    return [
        f"{validation.path}: target {target!r} has no label in the validation part; "
        "it could not be judged: add labels, or take it out of data.target_cols"
    ]


def _metric_problems(validation: Table, config: SweepConfig) -> list[str]:
    """Say where the metric takes two different labels and there is one."""
    figure, _, target = config.metric.removeprefix("val_").partition("/")
    targets = list(config.data.target_cols)
    columns = [targets.index(target)] if target in targets else range(len(targets))
    labels = (validation.targets[:, i] for i in columns)
    if not figure.endswith(NEED_TWO_LABELS) or any(np.ptp(x[~np.isnan(x)]) for x in labels):
        return []
    return [
        f"{validation.path}: the labels of the validation part are all the same, so that "
        f"{config.metric} is not defined; give it other rows, or choose another metric"
    ]


def _shared_molecules(tables: dict[str, Table], allowed: bool) -> tuple[int, list[str]]:
    shared: set[str] = set()
    problems = []
    for (one, first), (other, second) in combinations(tables.items(), 2):
        common = set(first.canonical) & set(second.canonical)
        if common and not allowed:
            problems.append(_shared_problem(common, one, first, other, second))
        shared |= common
    return len(shared), problems


def _shared_problem(common: set[str], one: str, first: Table, other: str, second: Table) -> str:
    return (
        f"{second.path}: {counted(len(common), 'molecule')} of the {other} part "
        f"({named_rows(second.rows_of(common))}) "
        f"{'is' if len(common) == 1 else 'are'} also in the {one} part "
        f"({named_rows(first.rows_of(common))} of {first.path}); "
        "take them out of one, or set data.allow_duplicates: true"
    )


def _part_report(name: str, table: Table, config: SweepConfig) -> PartReport:
    labelled = (~np.isnan(table.targets)).sum(axis=0)
    return PartReport(
        name=name,
        rows=len(table),
        repeated=len(table) - len(set(table.canonical)),
        labels={t: int(n) for t, n in zip(config.data.target_cols, labelled, strict=True)},
    )
