"""What a search found out about its parameters stands with the sweep's own run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.events import SweepEnded
from chemprop_hpo.hpo.report.searched.observations import read_observations
from chemprop_hpo.hpo.tracking.fill_in import Added, fill_in
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.storage.ownership import Driver
from tests.hpo.tracking.known_study import add_trial, known_study, opened
from tests.hpo.tracking.sweeps_told import observer, started

FILES = ["importances.png", "parallel_coordinates.png", "parameters.json", "slices.png"]
SPACE = {
    "depth": {"type": "randint", "low": 2, "high": 9},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
}


@pytest.fixture
def loaded(uri: str, tmp_path: Path) -> LoadedSweep:
    return known_study(tmp_path, uri, search_space=SPACE, num_samples=24)


def add_trials(loaded: LoadedSweep, n: int = 24) -> None:
    """Add complete trials; a small depth is good."""
    db, study = opened(loaded)
    with db:
        for i in range(n):
            add_trial(study, "COMPLETE", 0.1 * (2 + i % 8) + 0.001 * i, 2 + i % 8)


def filled(loaded: LoadedSweep) -> Added:
    db, study = opened(loaded)
    with db:
        return fill_in(db, study, loaded.config, read_observations=read_observations)


def sweep_of(client: MlflowClient) -> Run:
    ids = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(ids, "tags.`chemprop_hpo.kind` = 'sweep'")
    return run


def kept(client: MlflowClient) -> list[str]:
    found = client.list_artifacts(sweep_of(client).info.run_id, "search")
    return sorted(Path(file.path).name for file in found)


def test_importances_ranges_and_pictures_are_filled_in_once(
    loaded: LoadedSweep, client: MlflowClient
) -> None:
    add_trials(loaded)
    filled(loaded)
    run = sweep_of(client)
    assert run.data.metrics["importance/depth"] == pytest.approx(1.0)
    assert kept(client) == FILES
    file = client.download_artifacts(run.info.run_id, "search/parameters.json")
    content = json.loads(Path(file).read_text())
    depth = next(p for p in content["parameters"] if p["name"] == "depth")
    assert depth["searched"] == [2, 9]
    assert depth["top"] == [2, 3]
    assert depth["best"] == 2
    assert content["top_trials"] == [0, 8, 16, 1, 9]
    assert not filled(loaded)


def test_they_are_drawn_anew_once_there_are_more_trials(
    loaded: LoadedSweep, client: MlflowClient
) -> None:
    add_trials(loaded, 3)
    filled(loaded)
    assert "importance/depth" not in sweep_of(client).data.metrics
    add_trials(loaded)
    filled(loaded)
    assert "importance/depth" in sweep_of(client).data.metrics
    file = client.download_artifacts(sweep_of(client).info.run_id, "search/parameters.json")
    assert json.loads(Path(file).read_text())["complete_trials"] == 27


def test_nothing_is_drawn_without_a_complete_trial_or_while_a_driver_is_at_work(
    loaded: LoadedSweep, client: MlflowClient
) -> None:
    filled(loaded)
    assert kept(client) == []
    add_trials(loaded, 3)
    db, study = opened(loaded)
    with db:
        driver = Driver.register(db, study)
        filled(loaded)
        driver.leave()
    assert kept(client) == []


@pytest.mark.parametrize(
    ("reason", "files"),
    [("finished", FILES[1:]), ("time_budget", FILES[1:]), ("interrupted", [])],
)
def test_a_sweep_logs_them_when_all_its_trials_were_run(
    loaded: LoadedSweep, client: MlflowClient, uri: str, reason: str, files: list[str]
) -> None:
    add_trials(loaded, 3)
    db, study = opened(loaded)
    with db:
        told = observer(uri, read_observations=lambda: read_observations(study, loaded.config))
        told.sweep_started(started())
        told.sweep_ended(SweepEnded(reason=reason, counts={}, best_number=0, best=0.1))
    assert kept(client) == files


def test_a_picture_that_cannot_be_drawn_leaves_no_run_open(
    client: MlflowClient, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Observations:
        raise RuntimeError("no such font")

    told = observer(uri, read_observations=broken)
    told.sweep_started(started())
    with caplog.at_level(logging.WARNING):
        told.sweep_ended(SweepEnded(reason="finished", counts={}, best_number=0, best=0.1))
    assert sweep_of(client).info.status == "FINISHED"
    assert "is not logged" in caplog.text
