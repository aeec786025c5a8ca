"""Read one file of molecules and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.csv_files import CsvFile, read_csv
from chemprop_hpo.hpo.chemistry.tables.data_report import FileReport
from chemprop_hpo.hpo.chemistry.tables.labels import read_labels
from chemprop_hpo.hpo.chemistry.tables.molecules import canonical_smiles, read_molecules
from chemprop_hpo.hpo.chemistry.tables.problems import named_rows, raise_all


@dataclass(frozen=True, eq=False)
class Table:
    """Molecules with labels that come from one file.

    Attributes
    ----------
    path : Path
        The file.
    rows : int64 array, shape (n,)
        Line of the file that each molecule stands in; the header is line 1.
    smiles : tuple of str
        As in the file, without blanks around.
    canonical : tuple of str
        RDKit's canonical SMILES: two rows with the same one are the same molecule.
    molecules : tuple of Mol
    targets : float64 array, shape (n, t)
        Labels with the transforms of the config applied; NaN where one is missing.
    """

    path: Path
    rows: NDArray[np.int64]
    smiles: tuple[str, ...]
    canonical: tuple[str, ...]
    molecules: tuple[Mol, ...]
    targets: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def places(self) -> tuple[str, ...]:
        """Where each molecule stands, for messages."""
        return tuple(f"{self.path}: row {row}" for row in self.rows)

    def fingerprint(self) -> str:
        """Return a SHA-256 of which rows of the file these are."""
        return hashlib.sha256(self.rows.astype("<i8").tobytes()).hexdigest()

    def take(self, positions: NDArray[np.int64]) -> Table:
        """Return the molecules at these positions (0 is the first)."""
        return Table(
            self.path,
            self.rows[positions],
            tuple(self.smiles[i] for i in positions),
            tuple(self.canonical[i] for i in positions),
            tuple(self.molecules[i] for i in positions),
            self.targets[positions],
        )

    def sharing(self, known: dict[str, Mol]) -> Table:
        """Return this table with one molecule for equal SMILES, from ``known`` or added to it."""
        pairs = zip(self.smiles, self.molecules, strict=True)
        return replace(
            self, molecules=tuple(known.setdefault(text, molecule) for text, molecule in pairs)
        )

    def rows_of(self, canonical: Collection[str]) -> list[int]:
        """Return the lines that hold one of these molecules."""
        return [int(r) for r, c in zip(self.rows, self.canonical, strict=True) if c in canonical]


@dataclass(frozen=True, eq=False)
class ReadTable:
    """A file's usable rows, what was left out, and the cells of extra columns."""

    table: Table
    report: FileReport
    extra: dict[str, list[str]]


def read_table(path: Path, config: SweepConfig, extra_cols: Sequence[str] = ()) -> ReadTable:
    """Read the usable rows of a file: those with a molecule and at least one label.

    Parameters
    ----------
    path : Path
    config : SweepConfig
        Names the columns, transforms, the task, and the share of unreadable SMILES to accept.
    extra_cols : sequence of str
        Columns to keep beside them, as text.

    Raises
    ------
    DataError
        With a line for each problem of the file.
    """
    csv = read_csv(path)
    data = config.data
    raise_all(csv.column_problems((data.smiles_col, *data.target_cols, *extra_cols)))
    targets, problems = read_labels(csv, data.target_cols, data.transforms, config.task)
    molecules = read_molecules(csv.column(data.smiles_col))
    unreadable = np.array([molecule is None for molecule in molecules])
    raise_all(problems + _unreadable_problems(csv, config, unreadable))
    unlabelled = np.isnan(targets).all(axis=1) & ~unreadable
    usable = np.flatnonzero(~unreadable & ~unlabelled)
    if not len(usable):
        raise DataError(f"{path}: no row has both a molecule that RDKit can read and a label")
    lines = np.array(csv.lines, dtype=np.int64)
    report = FileReport(
        path, len(csv), tuple(lines[unreadable].tolist()), tuple(lines[unlabelled].tolist())
    )
    table = _table(csv, data.smiles_col, molecules, targets, usable)
    extra = {name: [csv.column(name)[i] for i in usable] for name in extra_cols}
    return ReadTable(table, report, extra)


def _table(
    csv: CsvFile,
    smiles_col: str,
    molecules: Sequence[Mol | None],
    targets: NDArray[np.float64],
    usable: NDArray[np.int64],
) -> Table:
    smiles = csv.column(smiles_col)
    kept = [molecule for i in usable if (molecule := molecules[i]) is not None]
    return Table(
        csv.path,
        np.array(csv.lines, dtype=np.int64)[usable],
        tuple(smiles[i] for i in usable),
        tuple(canonical_smiles(molecule) for molecule in kept),
        tuple(kept),
        targets[usable],
    )


def _unreadable_problems(
    csv: CsvFile, config: SweepConfig, unreadable: NDArray[np.bool_]
) -> list[str]:
    allowed = config.data.max_unreadable_share
    if unreadable.mean() <= allowed:
        return []
    where = np.flatnonzero(unreadable)
    example = csv.column(config.data.smiles_col)[where[0]]
    return [
        f"{csv.path}: column {config.data.smiles_col!r}: RDKit cannot read {len(where):,} of "
        f"{len(csv):,} SMILES, in {named_rows([csv.lines[i] for i in where])} (such as "
        f"{example!r}); correct them or take them out, or accept more than {allowed:.1%} with "
        "data.max_unreadable_share"
    ]
