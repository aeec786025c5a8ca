"""Predict a file of molecules, a part at a time, so that its length needs no memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TextIO
from uuid import uuid4

import numpy as np
import pandas as pd

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.hpo.predictor.tables import MoleculeTable, Row, open_table

__all__ = ["Counts", "Predicts", "predict_file", "require_output", "require_room"]

ROWS = 1024
"""Rows that are in memory at once."""

MOST_NAMED = 5
"""Columns that a message names."""

DIGITS = 7
"""Significant digits of a number: as many as the models' single precision has."""


class Predicts(Protocol):
    """What predicts molecules, as an ``Ensemble`` does."""

    @property
    def smiles_col(self) -> str:
        """The column that is read where nobody names one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a prediction after ``smiles``."""

    def predict(self, smiles: Iterable[Any], /) -> pd.DataFrame:
        """Return a row for each SMILES, with ``valid``, ``far`` and ``error`` among the columns."""


@dataclass(frozen=True)
class Counts:
    """How far a file has been predicted.

    Attributes
    ----------
    rows : int
        That were read.
    unreadable : int
        Those that have no prediction.
    far : int
        Those whose molecule is far from all training molecules.
    share : float or None
        Of the file that was read, from 0 to 1; None where its size is not known.
    """

    rows: int = 0
    unreadable: int = 0
    far: int = 0
    share: float | None = None


def predict_file(
    ensemble: Predicts,
    input_file: Path,
    output: Path,
    *,
    smiles_col: str | None = None,
    force: bool = False,
    rows_at_once: int = ROWS,
    on_progress: Callable[[Counts], None] = lambda _: None,
) -> Counts:
    """Write a copy of a CSV file with the predictions in columns at its end.

    Rows and columns keep their order and their text. A row that cannot be predicted has a
    reason in ``error``; it never ends the work. ``output`` is there when all is done, whole, or
    as it was before.

    Parameters
    ----------
    ensemble : Ensemble
        Or another that :class:`Predicts`.
    input_file, output : Path
    smiles_col : str, optional
        The column of the SMILES; the ensemble's own by default.
    force : bool
        Whether an output that exists is replaced.
    rows_at_once : int
        How many rows are in memory.
    on_progress : callable
        Called after each part.

    Raises
    ------
    DataError
        If the input cannot be read, has no such column, or has columns called like those
        that are added.
    UsageError
        If ``output`` exists, is the input, or cannot be written.
    """
    require_output(output, input_file, force=force)
    counts = Counts()
    with open_table(input_file, smiles_col or ensemble.smiles_col) as table:
        require_room(table, ensemble.columns)
        with _written_whole(output) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*table.header, *ensemble.columns])
            for rows in _parts(table, rows_at_once):
                predicted = _predicted(ensemble, rows)
                writer.writerows(_lines(rows, predicted))
                counts = _counted(counts, predicted, table.share_read)
                on_progress(counts)
    return counts


def require_output(output: Path, input_file: Path, *, force: bool) -> None:
    """Refuse an output that must not be written, before any work is done.

    Raises
    ------
    UsageError
        If it is the input, is a folder or a device, lies in no folder, or exists and is not to
        be replaced.
    """
    if output.exists() and input_file.exists() and output.samefile(input_file):
        raise UsageError(f"{output}: is the input itself; write to another file")
    if output.is_dir():
        raise UsageError(f"{output}: is a folder; name a file in it")
    if output.exists() and not output.is_file():
        # A device or a pipe would give way to a plain file, for everyone on the machine.
        raise UsageError(f"{output}: is a device or a pipe; write to a file")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}; make it first")
    if output.exists() and not force:
        raise UsageError(f"{output}: exists already; replace it with --force, or name another file")


def require_room(table: MoleculeTable, columns: Sequence[str]) -> None:
    """Refuse a table with columns called like those that predictions are written to.

    Raises
    ------
    DataError
        Naming them.
    """
    names = {name.strip() for name in table.header}
    if taken := [repr(name) for name in columns if name in names]:
        what = "column" if len(taken) == 1 else "columns"
        rest = len(taken) - MOST_NAMED
        named = ", ".join(taken[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        raise DataError(
            f"{table.path}: has the {what} {named}, which the predictions are to be "
            f"written to; rename or remove the {what}"
        )


@contextmanager
def _written_whole(output: Path) -> Iterator[TextIO]:
    path = Path(os.path.realpath(output))  # the file behind a link, not the link
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _parts(table: MoleculeTable, rows_at_once: int) -> Iterator[list[Row]]:
    rows = iter(table)
    while part := list(islice(rows, rows_at_once)):
        yield part


def _predicted(ensemble: Predicts, rows: Sequence[Row]) -> pd.DataFrame:
    predicted = ensemble.predict([row.smiles for row in rows])[list(ensemble.columns)]
    own = [row.error or error for row, error in zip(rows, predicted["error"], strict=True)]
    return predicted.assign(error=own)


def _counted(counts: Counts, predicted: pd.DataFrame, share: float | None) -> Counts:
    return Counts(
        counts.rows + len(predicted),
        counts.unreadable + int((~predicted["valid"]).sum()),
        counts.far + int(predicted["far"].sum()),
        share,
    )


def _lines(rows: Sequence[Row], predicted: pd.DataFrame) -> Iterator[list[str]]:
    columns = [[_text(value) for value in predicted[name]] for name in predicted.columns]
    for row, *values in zip(rows, *columns, strict=True):
        yield [*row.cells, *values]


def _text(value: Any) -> str:
    if value is pd.NA:
        return ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)
