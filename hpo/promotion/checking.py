"""Hold the champion against fresh measurements."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.configs.schema import DataConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.csv_files import read_csv
from chemprop_hpo.hpo.chemistry.tables.table import Table, read_table
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.predictor import Ensemble, load_ensemble
from chemprop_hpo.hpo.predictor.manifest import MANIFEST, Manifest, Target
from chemprop_hpo.hpo.predictor.writing import TRAINING
from chemprop_hpo.hpo.promotion.decision import Decision
from chemprop_hpo.hpo.promotion.fresh_figures import fresh_error
from chemprop_hpo.hpo.promotion.monitoring import FreshError, monitored
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.registered.registry import CHAMPION, MODEL, Registry, Version
from chemprop_hpo.hpo.promotion.registered.test_rows import (
    SAID,
    in_compared_units,
    said_molecules,
)

__all__ = ["Check", "check_champion"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """How the champion does on fresh labels.

    Attributes
    ----------
    champion : str
        Its version.
    decision : Decision
        Whether it is to be rolled back.
    fresh : FreshError
    trained_on, tested_on : int
        Molecules of the file that the champion was trained on, and further ones that stand
        among its test rows; both were left out.
    conflicting : int
        Molecules that were measured as both classes of a target, which have no label of it.
    unpredicted : int
        Molecules with a label of which the champion predicts no finite number.
    """

    champion: str
    decision: Decision
    fresh: FreshError
    trained_on: int = 0
    tested_on: int = 0
    conflicting: int = 0
    unpredicted: int = 0


def check_champion(
    registry: Registry, config: SweepConfig, file: Path, smiles_col: str | None = None
) -> Check:
    """Compute the champion's error on fresh labels, and compare it with its test error.

    Molecules that it was trained or tested on are left out: their errors are known, and would
    hide those of the others.

    Parameters
    ----------
    registry : Registry
    config : SweepConfig
        The bounds, and how many unreadable SMILES are accepted.
    file : Path
        A CSV file with SMILES and at least one of the champion's targets.
    smiles_col : str, optional
        The column of the SMILES; that of the training data if not given.

    Raises
    ------
    UsageError
        If there is no champion.
    DataError
        If the file cannot be used, or the champion knows every molecule in it.
    TrackingError, PredictorError
        If the champion cannot be fetched or loaded.
    """
    number = registry.alias(CHAMPION)
    if number is None:
        raise UsageError(
            f"the registered model '{registry.name}' has no champion to check; make one with: "
            "chemprop-hpo registry promote"
        )
    version = registry.version(number)
    record = registry.record(version)
    with registry.artifact(version, MODEL) as model:
        ensemble = load_ensemble(_predictor_in(model, version, registry.name))
        targets, table = _fresh(file, ensemble.manifest, config, smiles_col)
        trained_on = _trained_on(ensemble.folder) & set(table.canonical)
        tested_on = (_tested_on(registry, version) & set(table.canonical)) - trained_on
        table, conflicting = _once_each(_without(table, trained_on | tested_on), record)
        predictions = _predictions(ensemble, targets, table, record)
    labels = _labels(targets, table, record)
    fresh = fresh_error(
        predictions, labels, [t.name for t in targets], record, config.promotion.min_monitored_rows
    )
    return Check(
        champion=number,
        decision=monitored(fresh, record, config.promotion),
        fresh=fresh,
        trained_on=len(trained_on),
        tested_on=len(tested_on),
        conflicting=conflicting,
        unpredicted=_molecules(np.isfinite(labels) & ~np.isfinite(predictions)),
    )


def _predictor_in(model: Path | None, version: Version, name: str) -> Path:
    found = [] if model is None else sorted(model.glob(f"artifacts/*/{MANIFEST}"))
    if not found:
        raise DataError(
            f"version {version.number} of '{name}' holds no predictor; register one with: "
            "chemprop-hpo registry candidate"
        )
    return found[0].parent


def _fresh(
    file: Path, manifest: Manifest, config: SweepConfig, smiles_col: str | None
) -> tuple[list[Target], Table]:
    """Read the labels of those targets that the file has."""
    header = read_csv(file).header
    targets = [target for target in manifest.targets if target.name in header]
    if not targets:
        names = ", ".join(repr(target.name) for target in manifest.targets)
        raise DataError(f"{file}: has none of the champion's targets as a column: {names}")
    data = DataConfig(
        file=file,
        smiles_col=smiles_col or manifest.smiles_col,
        target_cols=tuple(target.name for target in targets),
        target_transforms={target.name: target.transform for target in targets},
        max_unreadable_share=config.data.max_unreadable_share,
    )
    return targets, read_table(file, SweepConfig(data=data, task=manifest.task)).table


def _trained_on(predictor: Path) -> set[str]:
    return set(gzip.decompress((predictor / TRAINING).read_bytes()).decode().splitlines()[1:])


def _tested_on(registry: Registry, version: Version) -> set[str]:
    with registry.artifact(version, SAID) as path:
        return set() if path is None else said_molecules(path)


def _without(table: Table, known: set[str]) -> Table:
    unknown = [i for i, name in enumerate(table.canonical) if name not in known]
    if not unknown:
        raise DataError(
            f"{table.path}: the champion was trained or tested on every molecule in it; give it "
            "molecules that were measured since"
        )
    return table.take(np.array(unknown, np.int64))


def _once_each(table: Table, record: ModelRecord) -> tuple[Table, int]:
    """Return each molecule once, since repeats are no further evidence.

    It has the mean of its labels. Classes have no mean: where they conflict there is no label.
    The second value says of how many molecules.
    """
    first: dict[str, int] = {}
    numbers = np.array([first.setdefault(name, len(first)) for name in table.canonical])
    means = pd.DataFrame(table.targets).groupby(numbers).mean().to_numpy(np.float64)
    conflicting = (means > 0) & (means < 1) & (record.task == "classification")
    positions = np.unique(numbers, return_index=True)[1]
    once = replace(table.take(positions), targets=np.where(conflicting, np.nan, means))
    return once, _molecules(conflicting)


def _predictions(
    ensemble: Ensemble, targets: Sequence[Target], table: Table, record: ModelRecord
) -> Float64:
    """Return predictions in the units of the test figures, shape (n, t)."""
    alone = len(record.targets) == 1
    predicted = ensemble.predict(table.smiles)
    columns = [
        in_compared_units(predicted[f"{target.name}_mean"], target.transform, alone=alone)
        for target in targets
    ]
    return np.stack(columns, axis=1)


def _labels(targets: Sequence[Target], table: Table, record: ModelRecord) -> Float64:
    """Return labels in the units of the test figures, shape (n, t)."""
    if len(record.targets) > 1:
        return table.targets
    return to_original_units(table.targets, targets[0].transform)


def _molecules(there: NDArray[np.bool_]) -> int:
    """Count the rows in which any target is true."""
    return int(there.any(axis=1).sum())
