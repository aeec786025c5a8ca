"""Read a CSV file as text, with the line that each row stands in."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chemprop_hpo.configs.errors import DataError


@dataclass(frozen=True)
class CsvFile:
    """The cells of a CSV file, without blanks around them; empty rows are left out.

    Attributes
    ----------
    path : Path
    header : tuple of str
    lines : tuple of int
        Line of each row as an editor counts it; the header is usually line 1. A row whose cells
        hold line breaks has the number of its last line.
    cells : tuple of rows
        Each row as long as the header.
    """

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]
    cells: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """Return the cells of one column."""
        position = self.header.index(name)
        return [row[position] for row in self.cells]

    def column_problems(self, names: Sequence[str]) -> list[str]:
        """Say which of the columns are missing, or stand in the header twice."""
        return [problem for name in names if (problem := self._column_problem(name))]

    def _column_problem(self, name: str) -> str | None:
        count = self.header.count(name)
        if count == 1:
            return None
        if count > 1:
            return f"{self.path}: {count} columns are called {name!r}; rename all but one"
        near = _nearest(name, self.header)
        advice = f"did you mean {near!r}?" if near else f"the columns are: {_listed(self.header)}"
        return f"{self.path}: there is no column {name!r}; {advice}"


def read_csv(path: Path) -> CsvFile:
    """Read a CSV file in UTF-8.

    Raises
    ------
    DataError
        If the file is missing, is no readable CSV, or has no rows below its header.
    """
    numbered = [(line, row) for line, row in _numbered_rows(path) if any(row)]
    if len(numbered) < 2:
        raise DataError(f"{path}: the table is empty; it needs a header and rows")
    header = numbered[0][1]
    for line, row in numbered[1:]:
        if any(row[len(header) :]):
            raise DataError(
                f"{path}: row {line} has {len(row)} cells, the header has {len(header)}; "
                "put cells that contain commas in quotes"
            )
    lines, rows = zip(*numbered[1:], strict=True)
    return CsvFile(path, tuple(header), lines, tuple(_fitted(row, len(header)) for row in rows))


def _numbered_rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file{_from_where(path)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is not a CSV file ({error})") from error


def _from_where(path: Path) -> str:
    return "" if path.is_absolute() else f"; the path starts at {Path.cwd()}"


def _fitted(row: list[str], width: int) -> tuple[str, ...]:
    return tuple(row[:width] + [""] * (width - len(row)))


def _nearest(name: str, header: Sequence[str]) -> str | None:
    folded = {column.casefold(): column for column in header}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None


def _listed(header: Sequence[str], limit: int = 12) -> str:
    more = f" and {len(header) - limit} more" if len(header) > limit else ""
    return ", ".join(repr(column) for column in header[:limit]) + more
