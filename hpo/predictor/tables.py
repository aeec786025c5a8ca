"""Read a CSV file of molecules row by row; a broken row is told and costs no other."""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Self, TextIO

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.chemistry.tables.csv_files import CsvFile

__all__ = ["MoleculeTable", "Row", "open_table", "require_input"]

MOST_LINES = 100
"""A quote that is not closed within as many lines is taken for a slip of its first line."""

OPEN_QUOTE = "a quote in this row is not closed"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    cells : tuple of str
        As they are in the file, and as many as the header has; the last one of a row with too
        many holds all that is left, with its commas.
    smiles : str or None
        None where the row is empty or broken.
    error : str
        What is broken, or an empty text.
    """

    cells: tuple[str, ...]
    smiles: str | None
    error: str = ""


@dataclass(frozen=True)
class MoleculeTable:
    """A CSV file that is open.

    Attributes
    ----------
    path : Path
    header : tuple of str
        As it is in the file.
    """

    path: Path
    header: tuple[str, ...]
    _file: TextIO
    _records: Iterator[_Record]
    _smiles_at: int

    def __iter__(self) -> Iterator[Row]:
        """Give the rows in their order, empty lines among them, but not those at the end.

        Raises
        ------
        DataError
            If the file can be read no further.
        """
        empty = 0
        for record in _readable(self.path, self._records):
            if record.cells:
                yield from repeat(self._row(_Record([])), empty)
                yield self._row(record)
            empty = 0 if record.cells else empty + 1

    @property
    def share_read(self) -> float | None:
        """From 0 to 1; None where nobody knows how long the file is."""
        if not self._file.seekable():
            return None
        size = os.fstat(self._file.fileno()).st_size
        return self._file.buffer.tell() / size if size else 1.0

    def _row(self, record: _Record) -> Row:
        width = len(self.header)
        error = record.error
        if not error and any(record.cells[width:]):
            error = (
                f"the row has {len(record.cells)} cells, the header has {width}; "
                "put cells that contain commas in quotes"
            )
        cells = (*record.cells[:width], *repeat("", width - len(record.cells)))
        if any(record.cells[width:]):
            cells = (*cells[:-1], ",".join(record.cells[width - 1 :]))
        return Row(cells, None if error else cells[self._smiles_at], error)


@contextmanager
def open_table(path: Path, smiles_col: str) -> Iterator[MoleculeTable]:
    """Open a CSV file in UTF-8 (bytes that are none are handed on as they are).

    Parameters
    ----------
    path : Path
    smiles_col : str
        Must stand in the header once; other names may stand there more often.

    Raises
    ------
    DataError
        If there is no such file, it cannot be read, or lacks a header or the column.
    """
    with _opened(path) as file:
        header = _header(path, file)
        smiles_at = _position(path, header, smiles_col)
        records = _records(file, partial(_is_whole, len(header), smiles_at))
        yield MoleculeTable(path, header, file, records, smiles_at)


def require_input(path: Path) -> None:
    """Check that a file is there and can be read.

    Raises
    ------
    DataError
        If not.
    """
    _opened(path).close()


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


# ----------------------------------------------------------------------------- header


def _header(path: Path, file: TextIO) -> tuple[str, ...]:
    records = _readable(path, _records(file, lambda _: True))
    header = next((tuple(record.cells) for record in records if any(record.cells)), None)
    if header is None:
        raise DataError(f"{path}: the table is empty; it needs a header and rows")
    if any("\0" in name for name in header):
        raise DataError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8")
    return header


def _position(path: Path, header: Sequence[str], smiles_col: str) -> int:
    names = tuple(name.strip() for name in header)
    if problems := CsvFile(path, names, (), ()).column_problems([smiles_col]):
        raise DataError(f"{problems[0]} (--smiles-col names the column of the SMILES)")
    return names.index(smiles_col)


# ----------------------------------------------------------------------------- records


def _readable(path: Path, records: Iterator[_Record]) -> Iterator[_Record]:
    try:
        yield from records
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _is_whole(width: int, smiles_at: int, cells: list[str]) -> bool:
    """Whether several lines are one row: a slip of a quote joins rows to a senseless one."""
    smiles = cells[smiles_at] if smiles_at < len(cells) else ""
    return len(cells) <= width and "\n" not in smiles and "\r" not in smiles


@dataclass(frozen=True)
class _Record:
    """The cells of a row, and what is broken in it."""

    cells: list[str]
    error: str = ""


class _Lines:
    """The lines of a file for one record after the other; those of a broken one come again."""

    def __init__(self, file: TextIO) -> None:
        self.taken: list[str] = []
        self.ended = False
        self._file = file
        self._ahead: deque[str] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = "" if len(self.taken) >= MOST_LINES else self._line()
        if not line:
            self.ended = True
            raise StopIteration
        self.taken.append(line)
        return line

    def begin(self) -> None:
        """Go on to the next record."""
        self.taken, self.ended = [], False

    def give_back(self) -> None:
        """Keep only the first line of the record."""
        self._ahead.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def _line(self) -> str:
        return self._ahead.popleft() if self._ahead else self._file.readline()


def _records(file: TextIO, is_whole: Callable[[list[str]], bool]) -> Iterator[_Record]:
    lines = _Lines(file)
    while True:
        lines.begin()
        record = _record(lines, is_whole)
        if not lines.taken:
            return
        yield record


def _record(lines: _Lines, is_whole: Callable[[list[str]], bool]) -> _Record:
    problem = OPEN_QUOTE
    try:
        cells = next(csv.reader(lines), [])
    except csv.Error as error:
        cells, problem = [], f"the row cannot be read ({error})"
    else:
        # A reader asks for a line too many only where a quote is open.
        if not lines.ended and (len(lines.taken) == 1 or is_whole(cells)):
            return _Record(cells)
    if not lines.taken:
        return _Record([])
    if len(lines.taken) > 1:
        problem = OPEN_QUOTE
    lines.give_back()
    return _Record(lines.taken[0].rstrip("\r\n").split(","), problem)
