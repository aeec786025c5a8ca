"""Turn the label cells of a table into numbers on the scale that is trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.chemistry.tables.csv_files import CsvFile
from chemprop_hpo.hpo.chemistry.tables.problems import counted, named_rows

Float64 = NDArray[np.float64]

_MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"})
_LOWEST = {"none": -math.inf, "log10": 0.0, "log10p1": -1.0}


def read_labels(
    csv: CsvFile, target_cols: Sequence[str], transforms: Sequence[Transform], task: str
) -> tuple[Float64, list[str]]:
    """Read the label columns and apply their transforms.

    Returns
    -------
    labels : float64 array, shape (n, t)
        NaN where a label is missing.
    problems : list of str
        A line for each kind of wrong label in each column; the labels are of use only where
        there is none.
    """
    columns, problems = [], []
    for target, transform in zip(target_cols, transforms, strict=True):
        labels, wrong = _read_column(csv, target, transform, task)
        columns.append(labels)
        problems += wrong
    return np.stack(columns, axis=1), problems


def transformed(labels: Float64, transform: Transform) -> Float64:
    """Apply the transform of a target: ``none``, ``log10`` or ``log10p1``, log10(x + 1)."""
    if transform == "log10":
        return np.log10(labels)
    if transform == "log10p1":
        return np.log1p(labels) / math.log(10)
    return labels


def _read_column(
    csv: CsvFile, target: str, transform: Transform, task: str
) -> tuple[Float64, list[str]]:
    cells = csv.column(target)
    labels = np.array([_number(cell) for cell in cells], dtype=object)
    no_number = np.array([label is None for label in labels])
    numbers = np.where(no_number, math.nan, labels).astype(np.float64)
    infinite = np.isinf(numbers)
    too_low = (numbers <= _LOWEST[transform]) & ~infinite
    no_class = ~np.isin(numbers, (0, 1)) & np.isfinite(numbers) & (task == "classification")
    problems = [
        f"{csv.path}: column {target!r}: {what}, in {_rows_with_cells(csv, cells, wrong)}; {fix}"
        for wrong, what, fix in (
            (no_number, "labels that are no number", "write a number, or leave the cell empty"),
            (infinite, "infinite labels", "write a finite number, or leave the cell empty"),
            (no_class, "labels of a classification other than 0 and 1", "write 0 or 1"),
            (
                too_low,
                f"labels of {_LOWEST[transform]:g} or less, which {transform} cannot take",
                "correct them, or choose another of data.target_transforms",
            ),
        )
        if wrong.any()
    ]
    return (numbers if problems else transformed(numbers, transform)), problems


def _number(cell: str) -> float | None:
    if cell.casefold() in _MISSING:
        return math.nan
    try:
        # Python reads 1_000 as a number; in a table it is a slip.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _rows_with_cells(csv: CsvFile, cells: Sequence[str], wrong: NDArray[np.bool_]) -> str:
    where = np.flatnonzero(wrong)
    shown = ", ".join(dict.fromkeys(repr(cells[i]) for i in where[:3]))
    rows = named_rows([csv.lines[i] for i in where])
    return f"{rows} ({counted(len(where), 'label')}, such as {shown})"
