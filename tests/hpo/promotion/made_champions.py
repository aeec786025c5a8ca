"""Champions with several targets or with classes, and fresh labels at a distance from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from chemprop_hpo.hpo.predictor.manifest import Target
from chemprop_hpo.hpo.predictor.writing import write_predictor
from chemprop_hpo.hpo.promotion.candidate import register_candidate
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member
from tests.hpo.promotion.made_registry import TEST_ROWS, Place, promoted, write_record

TWO = {
    "val_nrmse": 0.4,
    "val_r2": 0.8,
    "generalisation_gap": 0.05,
    "test_nrmse": 0.4,
    "test_r2": 0.8,
    "test_rmse/carbons": 0.8,
    "test_mae/carbons": 0.6,
    "test_rmse/oxygens": 0.2,
    "test_mae/oxygens": 0.15,
}
CLASSES = {
    "val_roc_auc": 0.9,
    "val_loss": 0.4,
    "generalisation_gap": 0.05,
    "test_roc_auc": 0.9,
    "test_prc_auc": 0.8,
}
STDS = {"carbons": 2.0, "oxygens": 0.5}


def regression_of_two(
    place: Place, tested: Sequence[str] = ("carbons", "oxygens"), **changes: Any
) -> Path:
    """Write a predictor of carbons and oxygens, with a test NRMSE of 0.8 / 2 and 0.2 / 0.5."""
    targets = [_target(name, label_std=STDS[name], tested=name in tested) for name in STDS]
    return _predictor(place, "regression", targets, **{"metrics": TWO} | changes)


def classification(place: Place, **changes: Any) -> Path:
    """Write a predictor of one class, with a test ROC-AUC of 0.9."""
    return _predictor(place, "classification", [_target("carbons")], metrics=CLASSES, **changes)


def registered(place: Place, predictor: Path) -> None:
    """Register a predictor as the candidate."""
    with place.ledger() as ledger:
        made = register_candidate(place.registry(), ledger, place.config, predictor)
    assert made.version is not None, made.decision.reason


def champion(place: Place, predictor: Path) -> None:
    """Make a predictor the champion."""
    registered(place, predictor)
    done = promoted(place)
    assert done.moved, done.decision.reason


def said_by_champion(place: Place, smiles: Sequence[str]) -> pd.DataFrame:
    """Return what the champion says of molecules."""
    registry = place.registry()
    version = registry.version(registry.alias("champion") or "")
    with registry.artifact(version, "model") as model:
        served = mlflow.pyfunc.load_model(str(model))
        return served.predict(pd.DataFrame({"smiles": list(smiles)}))


def fresh_file(
    place: Place, errors: Mapping[str, float], rows: int = 30, few: Mapping[str, int] | None = None
) -> Path:
    """Write labels that are off by so much from what the champion says; of some only a few."""
    smiles = ["C" * n + "Br" for n in range(1, rows + 1)]
    said = said_by_champion(place, smiles)
    table = pd.DataFrame({"smiles": smiles})
    for name, error in errors.items():
        table[name] = said[f"{name}_mean"].astype(float) + error
        table.loc[(few or {}).get(name, rows) :, name] = float("nan")
    path = place.folder / "fresh.csv"
    table.to_csv(path, index=False)
    return path


def _target(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "transform": "none", "label_std": None, "tested": True, **changes}


def _predictor(
    place: Place, task: str, targets: Sequence[Mapping[str, Any]], **changes: Any
) -> Path:
    place.made += 1
    n, folder = len(targets), place.folder / f"ensembles_{place.made}"
    fold = make_fold(n, task=task)
    member = make_member(place.folder, fold, number=place.made, weights=(1.0,) * n)
    names = [target["name"] for target in targets]
    calibrated = {} if task == "regression" else {"calibrations": dict.fromkeys(names)}
    content = make_content(
        [member], tuple(Target(name=name) for name in names), task=task, **calibrated
    )
    write_predictor(folder / "combined", content)
    said = {name: [0.0, 1.0] * 3 for name in names}
    means = {f"{name}_mean": [0.2, 0.8, 0.4, 0.6, 0.1, 0.9] for name in names}
    table = pd.DataFrame({"smiles": TEST_ROWS, **said, **means})
    table.to_csv(folder / "test_predictions.csv", index=False)
    write_record(folder / "combined", task=task, targets=targets, **changes)
    return folder / "combined"
