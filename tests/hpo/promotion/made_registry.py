"""A registry in a file of MLflow's, its ledger, and predictors with records made by hand."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.predictor.manifest import MANIFEST, Target
from chemprop_hpo.hpo.predictor.writing import write_predictor
from chemprop_hpo.hpo.promotion.candidate import Candidate, register_candidate
from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
from chemprop_hpo.hpo.promotion.promoting import Promotion, promote
from chemprop_hpo.hpo.promotion.registered.record_files import predictor_hash
from chemprop_hpo.hpo.promotion.registered.registry import Registry, open_registry
from chemprop_hpo.hpo.promotion.rolling_back import Rollback, roll_back
from chemprop_hpo.storage.ledger import Ledger, open_ledger
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member

TEST_ROWS = ["CCCO", "CCCCO", "CCCCCO", "CCO", "CO", "CCCCCCO"]
LABELS = [3.0, 4.0, 5.0, 2.0, 1.0, 6.0]
GOOD = {
    "best_val_rmse": 0.5,
    "val_rmse": 0.5,
    "val_r2": 0.9,
    "train_rmse": 0.45,
    "generalisation_gap": 0.05,
    "test_rmse": 0.6,
    "test_mae": 0.4,
    "test_r2": 0.85,
}
CLEAN = {
    "seed": 1,
    "hyperparameters": {"depth": 2},
    "git_commit": "c" * 40,
    "dirty": False,
    "dataset": "d" * 64,
}


@dataclass
class Place:
    """A folder with MLflow's file, a ledger beside it, and predictors."""

    folder: Path
    uri: str
    config: SweepConfig = field(init=False)
    made: int = 0

    def __post_init__(self) -> None:
        self.config = config_of(self.uri)

    def registry(self) -> Registry:
        return open_registry(self.config)

    def ledger(self) -> Ledger:
        return open_ledger(ledger_url(self.config))

    def predictor(self, error: float = 0.6, **changes: Any) -> Path:
        """Write a predictor that was off by ``error`` on each test row."""
        self.made += 1
        folder = self.folder / f"ensembles_{self.made}"
        member = make_member(self.folder, make_fold(), number=self.made)
        predictor = folder / "combined"
        write_predictor(predictor, make_content([member], (Target(name="carbons"),)))
        write_said(folder, [label + error for label in LABELS])
        write_record(predictor, metrics={**GOOD, "test_rmse": error, "test_mae": error}, **changes)
        return predictor

    def candidate(self, error: float = 0.6, **changes: Any) -> Candidate:
        """Register such a predictor."""
        predictor = self.predictor(error, **changes)
        with self.ledger() as ledger:
            return register_candidate(self.registry(), ledger, self.config, predictor)

    def candidate_run(self, error: float) -> str:
        """Log such a predictor as a run, and register it nowhere."""
        other = self.config.model_copy(
            update={"promotion": self.config.promotion.model_copy(update={"registry": "other"})}
        )
        with self.ledger() as ledger:
            registry = open_registry(other)
            return register_candidate(registry, ledger, other, self.predictor(error)).run_id


def config_of(uri: str, **promotion: Any) -> SweepConfig:
    data = {"file": "carbons.csv", "target_cols": ["carbons"]}
    sections = {
        "data": data,
        "study": {"name": "alkanes"},
        "mlflow": {"tracking_uri": uri},
        "promotion": promotion,
    }
    return load_stored(sections).config


def write_said(folder: Path, means: Sequence[float]) -> None:
    table = pd.DataFrame({"smiles": TEST_ROWS, "carbons": LABELS, "carbons_mean": means})
    table.to_csv(folder / "test_predictions.csv", index=False)


def write_record(predictor: Path, **changes: Any) -> None:
    provenance: Mapping[str, Any] = changes.pop("provenance", {})
    said = predictor.parent / "test_predictions.csv"
    record = {
        "kind": "model",
        "task": "regression",
        "targets": [{"name": "carbons", "transform": "none", "label_std": 2.0, "tested": True}],
        "metrics": GOOD,
        "completed": True,
        "test_set": "e" * 64,
        "manifest": predictor_hash(predictor),
        "said": hashlib.sha256(said.read_bytes()).hexdigest() if said.exists() else None,
        **changes,
        "provenance": {**CLEAN, **provenance},
    }
    (predictor.parent / "records.json").write_text(json.dumps({predictor.name: record}))


def training_molecules(predictor: Path) -> list[str]:
    """Return what a predictor says that it was trained on."""
    assert (predictor / MANIFEST).exists()
    text = gzip.decompress((predictor / "training.csv.gz").read_bytes()).decode()
    return text.splitlines()[1:]


def promoted(place: Place, *, dry_run: bool = False) -> Promotion:
    with place.ledger() as ledger:
        return promote(place.registry(), ledger, place.config.promotion, dry_run=dry_run)


def rolled_back(place: Place, reason: str = "worse on the new series") -> Rollback:
    with place.ledger() as ledger:
        return roll_back(place.registry(), ledger, reason)


def aliases(place: Place) -> dict[str, str]:
    return place.registry().aliases()
