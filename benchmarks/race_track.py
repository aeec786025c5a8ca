"""What the sides of the race share: where each runs, the settings, the rows, the errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from race_results import Figures, Setting

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError, UsageError
from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.trials import TrialRecord, best_trials, trial_records

SMILES, TARGET, SPLIT = "smiles", "measured log solubility in mols per litre", "split"
STUDY = "race"
FOLDS = 8
"""One of them validates: 70 % train, 10 % validate, 20 % test."""
HIDDEN, BATCH = 300, 64
SPACE = {
    "depth": {"type": "randint", "low": 2, "high": 6},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.4, "step": 0.05},
    "num_layers": {"type": "randint", "low": 1, "high": 2},
    "max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
}
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


class LeftOutError(Exception):
    """A side cannot run, and why."""


@dataclass(frozen=True)
class Track:
    """Where one repeat runs, and with what."""

    setting: Setting
    out: Path
    peer: Path
    repeat: int

    def folder(self, side: str) -> Path:
        """Where a side's files lie."""
        return self.out / f"{side}-{self.repeat}"

    def measured(self, side: str) -> Path | None:
        """Return the file with what a side's command has cost; None where it has not ended."""
        path = self.folder(side) / "cost.json"
        return path if path.exists() else None

    def sweep(self, side: str) -> Path:
        """The file of a sweep of ours."""
        return self.folder(side) / "sweep.yaml"


@dataclass(frozen=True)
class Run:
    """One command, what it is to do, and how to see what it has done."""

    command: Sequence[str]
    asked: int
    count: Callable[[], int]
    read: Callable[[float], Figures]
    """Gets when it began, in seconds since 1970."""
    environment: Mapping[str, str] = field(default_factory=dict)


def settings(track: Track, folder: Path, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    setting = track.setting
    epochs = setting.epochs
    return {
        "data": {"file": setting.data, "smiles_col": SMILES, "target_cols": [TARGET]},
        "split": {
            "test_fraction": 0.2,
            "n_folds": FOLDS,
            "n_splits": setting.members[1],
            "seed": 0,
        },
        "model": {"message_hidden_dim": HIDDEN, "hidden_dim": HIDDEN, "aggregation": "norm"},
        # As many epochs of patience as there are: members, too, train to the end.
        "optimization": {"batch_size": BATCH, "max_epochs": epochs, "patience": epochs},
        "search_space": SPACE,
        "base": False,
        "scheduler": {**scheduler, "max_t": epochs},
        "resources": {"cpus_per_trial": 1, "max_concurrent_trials": setting.cpus},
        "study": {
            "name": STUDY,
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
        "num_samples": setting.trials,
        "seed": track.repeat,
        "metric": "val_rmse",
    }


def records(file: Path) -> list[TrialRecord]:
    try:
        with open_database(load_sweep(file).config.study.storage, create=False) as db:
            return trial_records(open_study(db, STUDY))
    except (StorageError, UnknownStudyError):
        return []  # the sweep has not made it, or not yet


def best(file: Path, k: int) -> list[TrialRecord]:
    try:
        with open_database(load_sweep(file).config.study.storage, create=False) as db:
            return best_trials(open_study(db, STUDY), k, distinct=True)
    except (StorageError, UnknownStudyError, UsageError) as problem:
        raise LeftOutError(str(problem)) from problem


def data_file(track: Track) -> Path:
    """Write the molecules with the part that our split gives each, for Chemprop."""
    path = track.out / "data.csv"
    if not path.exists():
        file = track.out / "split.yaml"
        file.write_text(yaml.safe_dump(settings(track, track.out, {"type": "none"})))
        words = {"train": "train", "validation": "val", "test": "test"}
        rows = [
            (row, text, float(targets[0]), words[name])
            for name, table in read_fold(load_sweep(file).config).parts.items()
            for row, text, targets in zip(table.rows, table.smiles, table.targets, strict=True)
        ]
        columns = ["row", SMILES, TARGET, SPLIT]
        pd.DataFrame(sorted(rows), columns=columns).drop(columns="row").to_csv(path, index=False)
    return path


def data_of(track: Track) -> pd.DataFrame:
    return _read_csv(data_file(track))


@cache
def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


def errors(model: Path, track: Track) -> tuple[float, float]:
    """Return a model's RMSE on validation and test rows, as Chemprop itself predicts them."""
    data, folder = data_of(track), track.out / "predictions"
    folder.mkdir(exist_ok=True)
    molecules, predicted = folder / "molecules.csv", folder / "predicted.csv"
    data[[SMILES]].to_csv(molecules, index=False)
    command = [str(BIN / "chemprop"), "predict", "-i", str(molecules), "--accelerator", "cpu"]
    command += ["--model-paths", str(model), "-o", str(predicted), "--smiles-columns", SMILES]
    with (folder / "log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, cwd=folder, env=os.environ)
    values = pd.read_csv(predicted).iloc[:, -1].to_numpy()
    squares = (values - data[TARGET].to_numpy()) ** 2
    validation, test = ((data[SPLIT] == part).to_numpy() for part in ("val", "test"))
    return float(np.sqrt(squares[validation].mean())), float(np.sqrt(squares[test].mean()))


def left_by(side: str, track: Track) -> Path:
    file = track.sweep(side)
    if not (track.out / f"{side}-{track.repeat}.json").exists():
        raise LeftOutError(f"{track.out}: trains what `{side}` finds; run --only {side} first")
    return file


def curve(points: Any) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(at), float(rmse)) for at, rmse in points if rmse is not None))


def size_mb(*places: Path) -> float:
    files = [path for place in places for path in (place, *place.rglob("*"))]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6
