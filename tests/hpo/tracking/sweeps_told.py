"""Sweeps as an observer is told of them, and what MLflow then knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.tracking.mlflow_runs import MlflowObserver

CONFIG = {
    "metric": "val_loss",
    "num_samples": 3,
    "study": {"name": "esol", "storage": "postgresql+psycopg://me:***@host/db"},
    "search_space": {"depth": {"type": "randint", "low": 2, "high": 6}},
    "data": {"target_cols": ["y" * 9000]},
}
MANIFEST = {"git": {"commit": "c0ffee", "dirty": False}, "versions": {"torch": "2.13.0"}, "seed": 3}
SPACE = [{"name": "depth", "type": "int"}]


def observer(
    uri: str,
    study: str = "esol",
    artifact_location: str | None = None,
    created: str = "1763800000.25",
    **options: Any,
) -> MlflowObserver:
    config = MlflowConfig(tracking_uri=uri, artifact_location=artifact_location)
    return MlflowObserver(config, study, CONFIG, MANIFEST, SPACE, created=created, **options)


def started(*, resumed: bool = False, storage: str = "sqlite:///studies.db") -> SweepStarted:
    return SweepStarted(
        study="esol",
        storage=storage,
        metric="val_loss",
        mode="min",
        num_samples=3,
        max_epochs=5,
        concurrency=1,
        resumed=resumed,
        counts={},
    )


def trial(number: int, continues: int | None = None) -> TrialStarted:
    params = {"depth": 3 + number, "max_lr": 1e-3}
    return TrialStarted(number, params, head="branched", seed=40 + number, continues=continues)


def epoch(number: int, epoch: int, **metrics: float) -> EpochEnded:
    loss = 1.0 / epoch
    return EpochEnded(
        number, epoch, loss, loss, epoch, metrics or {"val_loss": loss, "val_rmse": 2 * loss}, 0.5
    )


def ended(number: int, state: str = "COMPLETE", reason: str = "max_t", **more: Any) -> TrialEnded:
    metrics = {"val_rmse": 0.4, "train_rmse": 0.3, "generalisation_gap": 0.1}
    return TrialEnded(number, state, 0.2, 4, 5, reason, metrics, **more)


def over(reason: str = "finished") -> SweepEnded:
    return SweepEnded(reason, {"COMPLETE": 1}, best_number=0, best=0.2)


def runs_of(client: MlflowClient) -> list[Run]:
    ids = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(ids, max_results=1000))


def split_runs(client: MlflowClient) -> tuple[list[Run], dict[int, Run]]:
    parents, trials = [], {}
    for run in runs_of(client):
        if "mlflow.parentRunId" in run.data.tags:
            trials[int(run.data.tags["chemprop_hpo.trial"])] = run
        else:
            parents.append(run)
    return parents, trials


def steps(client: MlflowClient, run: Run, metric: str) -> list[int]:
    return [m.step for m in client.get_metric_history(run.info.run_id, metric)]


def play(told: MlflowObserver, *events: object) -> None:
    calls: dict[type, Callable[[Any], None]] = {
        SweepStarted: told.sweep_started,
        TrialStarted: told.trial_started,
        EpochEnded: told.epoch_ended,
        TrialEnded: told.trial_ended,
        SweepEnded: told.sweep_ended,
    }
    for event in events:
        calls[type(event)](event)
