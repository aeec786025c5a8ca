"""A study that no driver told MLflow of, and what a store holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.tracking.manifest import build_manifest
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.studies import Study, StudyRecord, open_or_create_study, open_study

DEPTH = IntDistribution(2, 9)
METRICS = {
    "val_loss": 0.2,
    "val_rmse": 0.5,
    "val_r2": 0.8,
    "val_rmse/y": 0.5,
    "train_loss": 0.1,
    "train_rmse": 0.4,
    "generalisation_gap": 0.1,
}


def known_study(folder: Path, uri: str, **sections: Any) -> LoadedSweep:
    """Make an empty study that logs to ``uri``."""
    loaded = load_stored(
        {
            "data": {"file": str(folder / "esol.csv"), "target_cols": ["y"]},
            "search_space": {"depth": {"type": "randint", "low": 2, "high": 9}},
            "num_samples": 4,
            "scheduler": {"max_t": 5, "grace_period": 1},
            "transfer_learning": {"top_k": 2},
            "mlflow": {"tracking_uri": uri},
            "study": {"name": "esol", "storage": f"sqlite:///{folder}/studies.db"},
            **sections,
        }
    )
    manifest = build_manifest(
        seed=3, data={"file": {"sha256": "ab" * 32, "rows": 902}}, threads=2, devices=("cpu",)
    )
    record = StudyRecord(
        config=loaded.stored,
        metric=loaded.config.metric,
        mode=loaded.config.mode,
        space=loaded.stored["search_space"],
        space_hash="0",
        data=manifest["data"],
        seed=3,
        folder=str(folder),
        git_commit="c0ffee",
        versions=manifest["versions"],
    )
    with open_database(loaded.config.study.storage) as db:
        study, _ = open_or_create_study(db, "esol", record)
        db.storage.write_study_user_attrs(db.study_id(study), {"manifest": manifest})
    return loaded


def opened(loaded: LoadedSweep) -> tuple[Database, Study]:
    db = open_database(loaded.config.study.storage, create=False)
    return db, open_study(db, loaded.config.study_name)


def add_trial(study: Study, state: str, value: float, depth: int, **attributes: Any) -> None:
    study.add_trial(finished(state, value, depth, **attributes))


def finished(state: str, value: float, depth: int = 3, **attributes: Any) -> FrozenTrial:
    """Return a trial of three epochs, the second its best."""
    return create_trial(
        params={"depth": depth},
        distributions={"depth": DEPTH},
        state=TrialState[state],
        value=value if state == "COMPLETE" else None,
        intermediate_values={1: 2 * value, 2: value, 3: value},
        user_attrs={
            "seed": 7,
            "head": "regression",
            "epochs": 3,
            "best_epoch": 2,
            "stop_reason": "max_t",
            "metrics": METRICS | {"val_loss": value},
            **attributes,
        },
    )


TABLES = {
    "runs": "run_uuid, name, status, start_time, end_time, lifecycle_stage",
    "params": "run_uuid, key, value",
    "tags": "run_uuid, key, value",
    "metrics": "run_uuid, key, value, step, timestamp",
}


def content(folder: Path) -> Mapping[str, Any]:
    """Return all that a store beside ``mlflow.db`` holds: rows, and files with their content."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        rows = {
            table: sorted(store.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
            for table, columns in TABLES.items()
        }
    store.close()
    files = {
        str(path): path.read_bytes()
        for path in sorted((folder / "mlruns").rglob("*"))
        if path.is_file()
    }
    return {**rows, "files": files}
