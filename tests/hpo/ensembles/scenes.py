"""Trials, tables and outputs of members, made without a study and without a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, Table
from chemprop_hpo.hpo.chemistry.tables.data_report import DataReport
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold, TrainingRows
from chemprop_hpo.storage.trials import TrialRecord
from tests.hpo import made_members

Float64 = NDArray[np.float64]
Place = tuple[int, int]


def trial(
    number: int, value: float, params: dict[str, Any] | None = None, **metrics: float
) -> TrialRecord:
    """Return a complete trial; without parameters it has some that no other number has."""
    made = made_members.trial(number, {"depth": number} if params is None else params)
    return dataclasses.replace(made, value=value, metrics=metrics)


def table(
    smiles: Sequence[str],
    targets: Any = None,
    *,
    path: str = "data.csv",
    rows: Sequence[int] | None = None,
) -> Table:
    """Return a table; labels count up from 0 if not given, rows from line 2."""
    molecules = tuple(Chem.MolFromSmiles(text) for text in smiles)
    labels = np.arange(len(smiles)) if targets is None else targets
    return Table(
        path=Path(path),
        rows=np.arange(2, len(smiles) + 2) if rows is None else np.asarray(rows),
        smiles=tuple(smiles),
        canonical=tuple(Chem.MolToSmiles(molecule) for molecule in molecules),
        molecules=molecules,
        targets=_two_dimensional(labels),
    )


def fold(train: Table, validation: Table, test: Table | None = None) -> FoldTables:
    report = DataReport(files=(), parts=(), shared=0, notes=())
    return FoldTables(train, validation, test, report)


def cut(whole: Table, validated: Sequence[int]) -> FoldTables:
    """Return a fold that validates on the positions given, and trains on all others."""
    inside = np.isin(np.arange(len(whole)), validated)
    return fold(whole.take(np.flatnonzero(~inside)), whole.take(np.flatnonzero(inside)))


def held_out(
    columns: Mapping[tuple[int, int], Any], labels: Any, folds: Mapping[int, Sequence[int]]
) -> OutOfFold:
    """Return out-of-fold predictions by rank and split, of shape (n,) or (n, t)."""
    targets = _two_dimensional(labels)
    names = tuple("C" * (i + 1) for i in range(len(targets)))
    units = tuple(sorted(columns))
    stacked = [np.asarray(columns[u], dtype=np.float64).reshape(targets.shape) for u in units]
    numbers = {split: np.asarray(of_rows) for split, of_rows in folds.items()}
    trained = {
        (split, int(fold)): np.asarray(of_rows != fold)
        for split, of_rows in numbers.items()
        for fold in np.unique(of_rows[of_rows >= 0])
    }
    rows = TrainingRows(names, names, targets)
    return OutOfFold(rows, units, np.stack(stacked), numbers, trained)


def config_of(folder: Path, *, data: dict[str, Any] | None = None, **sections: Any) -> SweepConfig:
    """Return a configuration; the data file need not exist."""
    config: dict[str, Any] = {
        "data": {"file": str(folder / "molecules.csv"), "target_cols": ["y"]} | (data or {}),
        "search_space": {"depth": {"type": "randint", "low": 1, "high": 14}},
        "scheduler": {"type": "none", "max_t": 3},
        "study": {
            "name": "made",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
    }
    return load_stored(config | sections).config


def _two_dimensional(labels: Any) -> Float64:
    values = np.asarray(labels, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values
