"""What a table of the page consists of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.digits import with_interval

__all__ = ["Cell", "Group", "Row", "Table", "figure_cell", "plain_rows"]


@dataclass(frozen=True)
class Cell:
    """A text, and in smaller letters below it its interval or the like."""

    text: str
    detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A name and the cells beside it."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """Rows that belong together, and what they have in common (may be empty)."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes
    ----------
    caption : str
        What it shows and how to read it.
    header : tuple of str
        One for each column, that of the names among them.
    words : tuple of int
        Columns that hold words and not numbers, counted from 0.
    """

    caption: str
    header: tuple[str, ...]
    groups: tuple[Group, ...]
    words: tuple[int, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows below the header, titles of groups left out."""
        return sum(len(group.rows) for group in self.groups)


def figure_cell(interval: Interval | None, *, best: bool = False) -> Cell:
    """Return a cell with a value above its interval."""
    value, ends = with_interval(interval)
    return Cell(value, ends, best)


def plain_rows(rows: Iterable[Iterable[str]]) -> tuple[Group, ...]:
    """Return one group of rows whose cells are plain texts, the first of each its name."""
    return (Group("", tuple(Row(name, tuple(map(Cell, cells))) for name, *cells in rows)),)
