"""A study, its trials and drivers, made for the tests."""

from __future__ import annotations

from typing import Any

import optuna
from sqlalchemy import update

from chemprop_hpo.storage import tables
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import StudyRecord

SPACE: dict[str, dict[str, Any]] = {
    "ffn_type": {"type": "choice", "choices": ["regression", "branched"], "condition": None},
    "trunk_n_layers": {"type": "randint", "low": 1, "high": 4, "condition": "..."},
    "max_lr": {"type": "loguniform", "low": 1e-5, "high": 1e-2, "condition": None},
}

RECORD = StudyRecord(
    config={"seed": 7, "num_samples": 12, "task": "regression", "data": {"target_cols": ["y"]}},
    metric="val_rmse",
    mode="min",
    space=SPACE,
    space_hash="abc",
    data={"train.csv": {"sha256": "1" * 64, "rows": 902}},
    seed=7,
    folder="studies/esol",
    git_commit="b31f688",
    versions={"optuna": "5.0.0"},
)


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    if trial.suggest_categorical("ffn_type", ["regression", "branched"]) == "branched":
        trial.suggest_int("trunk_n_layers", 1, 4)
    trial.suggest_float("max_lr", 1e-5, 1e-2, log=True)
    return trial.params


def begin(study: optuna.Study, driver: Driver, head: str = "branched") -> optuna.Trial:
    study.enqueue_trial({"ffn_type": head}, {"slot": 4})
    trial = study.ask()
    suggest(trial)
    attributes = {
        "driver": driver.id,
        "seed": 11,
        "head": head,
        "bracket": 0,
        "checkpoint": "trials/0/epoch_3.pt",
    }
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    return trial


def silence(db: Database, driver: Driver) -> None:
    """Make a driver's last beat a day old."""
    with db.engine.begin() as connection:
        old = update(tables.drivers).values(beat_at=db.now() - 86_400)
        connection.execute(old.where(tables.drivers.c.id == driver.id))
