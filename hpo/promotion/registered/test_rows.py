"""What a model said of its test rows, kept beside it so that a later one can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.chemistry.tables.labels import transformed
from chemprop_hpo.hpo.chemistry.tables.molecules import canonical_smiles, read_molecules
from chemprop_hpo.hpo.predictor.loading import COMBINED
from chemprop_hpo.hpo.promotion.records import JudgedTarget

__all__ = [
    "SAID",
    "SaidOfTestRows",
    "in_compared_units",
    "read_said",
    "said_by",
    "said_molecules",
    "same_rows",
]

SAID = "test_predictions.csv"
"""In the folder of the ensembles, and an artifact of a registered model's run."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SaidOfTestRows:
    """Labels and predictions of the same n test rows and t targets.

    Attributes
    ----------
    canonical : tuple of str
        RDKit's canonical SMILES: the same molecule may be written in another way.
    labels, means : float64 arrays, shape (n, t)
        Of a single target in original units; of several in transformed ones, in which their
        errors are of one size. Probabilities of a classification. NaN where there is none, or
        where it is not finite in these units.
    """

    canonical: tuple[str, ...]
    labels: Float64
    means: Float64


def said_by(predictor: Path, smiles_col: str, targets: list[str]) -> pd.DataFrame:
    """Return the rows and columns of `SAID` that are this predictor's.

    Parameters
    ----------
    predictor : Path
        One of the folders beside that file.
    smiles_col : str
    targets : list of str

    Returns
    -------
    DataFrame
        ``smiles``, and for each target ``<t>`` and ``<t>_mean``, in original units.

    Raises
    ------
    DataError
        If the file is not there, lacks a column, or has two of one name.
    """
    path = predictor.parent / SAID
    _refuse_alike(path, smiles_col, targets)
    suffix = "" if predictor.name == COMBINED else f"_{predictor.name}"
    try:
        table = pd.read_csv(path)
        columns = {"smiles": table[smiles_col]}
        for target in targets:
            columns |= {target: table[target], f"{target}_mean": table[f"{target}_mean{suffix}"]}
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such file; a model is registered only with its test figures: "
            "give the study data.test_file or split.test_fraction"
        ) from None
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}); write the ensembles anew") from error
    return pd.DataFrame(columns)


def _refuse_alike(path: Path, smiles_col: str, targets: list[str]) -> None:
    """Refuse targets whose columns cannot be told from others of the table."""
    taken = {smiles_col, "row", "similarity", *(f"{target}_mean" for target in targets)}
    if alike := [target for target in targets if target in taken]:
        raise DataError(
            f"{path}: the target {alike[0]!r} cannot be told from a column of that name; give the "
            "target another one in data.target_cols"
        )


def read_said(path: Path, targets: tuple[JudgedTarget, ...]) -> SaidOfTestRows:
    """Read what was written of `said_by`.

    Raises
    ------
    DataError
        If a column is not there, or a SMILES cannot be read.
    """
    alone = len(targets) == 1
    table = _read(path)
    try:
        labels, means = (
            [in_compared_units(table[t.name + end], t.transform, alone=alone) for t in targets]
            for end in ("", "_mean")
        )
        canonical = tuple(_canonical(table["smiles"]))
    except (KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    return SaidOfTestRows(canonical, np.stack(labels, axis=1), np.stack(means, axis=1))


def said_molecules(path: Path) -> set[str]:
    """Return the canonical SMILES of all rows of what was written of `said_by`.

    Raises
    ------
    DataError
        As `read_said`.
    """
    table = _read(path)
    try:
        return set(_canonical(table["smiles"]))
    except (KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def in_compared_units(values: ArrayLike, transform: Transform, *, alone: bool) -> Float64:
    """Turn original values into the units in which errors are compared.

    Parameters
    ----------
    values : array
        In original units, or probabilities.
    transform : {"none", "log10", "log10p1"}
    alone : bool
        Whether this is the model's only target, which is compared in original units.

    Returns
    -------
    float64 array
        NaN where a value is not finite or, as a prediction of -1 with ``log10p1``, has none in
        these units.
    """
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = numbers if alone else transformed(numbers, transform)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def same_rows(
    one: SaidOfTestRows, other: SaidOfTestRows
) -> tuple[SaidOfTestRows, SaidOfTestRows] | None:
    """Bring the rows of two models into one order; None if they are not the same."""
    ours, theirs = _in_order(one), _in_order(other)
    equal = ours.canonical == theirs.canonical and np.allclose(
        ours.labels, theirs.labels, rtol=1e-5, equal_nan=True
    )
    return (ours, theirs) if equal else None


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name}: is damaged ({error}); register the model anew")


def _canonical(smiles: Iterable[str]) -> list[str]:
    found = []
    for text, molecule in zip(smiles, read_molecules(map(str, smiles)), strict=True):
        if molecule is None:
            raise ValueError(f"RDKit cannot read the SMILES {text!r}")
        found.append(canonical_smiles(molecule))
    return found


def _in_order(said: SaidOfTestRows) -> SaidOfTestRows:
    keys = [
        (text, *map(str, labels)) for text, labels in zip(said.canonical, said.labels, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return SaidOfTestRows(
        tuple(said.canonical[i] for i in order), said.labels[order], said.means[order]
    )
