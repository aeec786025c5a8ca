from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.tracking.fill_in import Added, fill_in
from chemprop_hpo.storage.ownership import Driver
from tests.hpo.tracking.known_study import METRICS, add_trial, content, known_study, opened


@pytest.fixture
def loaded(uri: str, tmp_path: Path) -> LoadedSweep:
    return known_study(tmp_path, uri)


def filled(loaded: LoadedSweep) -> Added:
    db, study = opened(loaded)
    with db:
        return fill_in(db, study, loaded.config)


@pytest.fixture
def trials(loaded: LoadedSweep) -> None:
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.4, 3)
        add_trial(study, "PRUNED", 0.9, 4, stop_reason="asha")
        add_trial(study, "COMPLETE", 0.3, 5)
        add_trial(study, "FAIL", 0.8, 6, stop_reason="nan", error="not finite")


def by_number(client: MlflowClient) -> dict[int | None, Run]:
    ids = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(ids, max_results=1000)
    marks = [run.data.tags.get("chemprop_hpo.trial") for run in runs]
    return {None if n is None else int(n): run for n, run in zip(marks, runs, strict=True)}


def curve(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]


# ----------------------------------------------------------------------------- all of it


def test_trials_that_no_driver_logged_become_runs(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    added = filled(loaded)
    assert (added.runs, added.steps) == (5, 12)
    runs = by_number(client)
    assert {n: run.info.status for n, run in runs.items()} == {
        None: "FINISHED",
        0: "FINISHED",
        1: "FINISHED",
        2: "FINISHED",
        3: "FAILED",
    }
    assert runs[0].data.params == {"depth": "3", "seed": "7"}
    assert curve(client, runs[0], "best_so_far") == [(1, 0.8), (2, 0.4), (3, 0.4)]
    tags = runs[1].data.tags
    assert tags["chemprop_hpo.state"] == "PRUNED"
    assert tags["chemprop_hpo.stop_reason"] == "asha"
    assert runs[3].data.tags["chemprop_hpo.error"] == "not finite"
    assert all(
        run.data.tags["mlflow.parentRunId"] == runs[None].info.run_id
        for number, run in runs.items()
        if number is not None
    )


def test_figures_stand_under_the_names_that_people_look_for(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    filled(loaded)
    run = by_number(client)[0]
    wanted = {
        "best_val_rmse": 0.5,
        "best_val_r2": 0.8,
        "val_rmse": 0.5,
        "val_r2": 0.8,
        "train_rmse": 0.4,
        "generalisation_gap": 0.1,
        "best_value": 0.4,
        "best/val_rmse/y": 0.5,
    }
    assert {name: run.data.metrics[name] for name in wanted} == wanted
    assert not [name for name in run.data.metrics if name.startswith("test_")]
    # The training's own criterion has that name in each epoch; this figure is another one.
    assert "train_loss" not in run.data.metrics


def test_the_sweeps_own_run_is_told_from_the_study_alone(
    loaded: LoadedSweep, trials: None, client: MlflowClient, tmp_path: Path
) -> None:
    filled(loaded)
    sweep = by_number(client)[None]
    tags = sweep.data.tags
    assert sweep.data.params["search_space.depth.high"] == "9"
    assert tags["chemprop_hpo.data.file.sha256"] == "ab" * 32
    assert tags["chemprop_hpo.data.file.rows"] == "902"
    assert tags["chemprop_hpo.seed"] == "3"
    assert tags["chemprop_hpo.threads"] == "2"
    assert tags["chemprop_hpo.devices"] == '["cpu"]'
    assert {"chemprop_hpo.git.commit", "chemprop_hpo.git.dirty"} <= tags.keys()
    assert tags["chemprop_hpo.versions.torch"]
    assert tags["chemprop_hpo.best_trial"] == "2"
    assert tags["chemprop_hpo.trials.COMPLETE"] == "2"
    folder = Path(sweep.info.artifact_uri.removeprefix("file://"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "best_configs.yaml",
        "config.yaml",
        "manifest.json",
        "space.json",
    ]


def test_the_best_are_logged_as_metrics_and_as_a_file_that_can_be_run(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    filled(loaded)
    sweep = by_number(client)[None]
    metrics = sweep.data.metrics
    assert (metrics["top_1_val_loss"], metrics["top_2_val_loss"]) == (0.3, 0.4)
    assert "top_3_val_loss" not in metrics
    text = Path(sweep.info.artifact_uri.removeprefix("file://"), "best_configs.yaml").read_text()
    again = load_stored(yaml.safe_load(text)).config
    assert list(again.enqueue) == [{"depth": 5}, {"depth": 3}]


def test_another_metric_stands_beside_the_loss_of_the_same_trials(
    uri: str, tmp_path: Path, client: MlflowClient
) -> None:
    loaded = known_study(tmp_path, uri, metric="val_r2", mode="max")
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.7, 3, metrics=METRICS | {"val_loss": 0.2})
        add_trial(study, "COMPLETE", 0.9, 4, metrics=METRICS | {"val_loss": 0.3})
        fill_in(db, study, loaded.config)
    metrics = by_number(client)[None].data.metrics
    assert (metrics["top_1_val_r2"], metrics["top_1_val_loss"]) == (0.9, 0.3)
    assert (metrics["top_2_val_r2"], metrics["top_2_val_loss"]) == (0.7, 0.2)


# ----------------------------------------------------------------------------- and nothing twice


def test_a_second_call_changes_nothing(loaded: LoadedSweep, trials: None, tmp_path: Path) -> None:
    assert filled(loaded)
    before = content(tmp_path)
    assert not filled(loaded)
    assert content(tmp_path) == before


def test_an_empty_study_is_a_run_without_trials(loaded: LoadedSweep, tmp_path: Path) -> None:
    assert filled(loaded).runs == 1
    before = content(tmp_path)
    assert not filled(loaded)
    assert content(tmp_path) == before


def test_later_trials_are_added_to_the_same_run(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    filled(loaded)
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.1, 7)
    added = filled(loaded)
    assert (added.runs, added.steps) == (1, 3)
    runs = by_number(client)
    assert len(runs) == 6
    assert runs[None].data.metrics["top_1_val_loss"] == 0.1
    assert runs[None].data.metrics["top_2_val_loss"] == 0.3


def test_only_the_steps_that_are_missing_are_added(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    filled(loaded)
    run = by_number(client)[0]
    # As a driver leaves it that is killed after an epoch.
    experiment = run.info.experiment_id
    keep = {k: v for k, v in run.data.tags.items() if k.startswith(("mlflow.parent", "chemprop"))}
    keep = {k: v for k, v in keep.items() if k.rpartition(".")[2] not in {"epochs", "state"}}
    client.delete_run(run.info.run_id)
    half = client.create_run(experiment, tags=keep)
    client.log_metric(half.info.run_id, "best_so_far", 0.8, step=1, timestamp=5)
    client.log_metric(half.info.run_id, "val_rmse", 0.9, step=1, timestamp=5)

    added = filled(loaded)
    assert (added.runs, added.steps, added.ended) == (0, 2, 1)
    again = client.get_run(half.info.run_id)
    assert again.info.status == "FINISHED"
    assert [step for step, _ in curve(client, again, "best_so_far")] == [1, 2, 3]
    # A curve that a driver logged is left as it is; the best epoch has a name of its own.
    assert curve(client, again, "val_rmse") == [(1, 0.9)]
    assert again.data.metrics["best_val_rmse"] == 0.5


def test_a_study_that_was_deleted_and_made_anew_has_a_run_of_its_own(
    loaded: LoadedSweep, trials: None, client: MlflowClient, uri: str, tmp_path: Path
) -> None:
    filled(loaded)
    (tmp_path / "studies.db").unlink()
    filled(known_study(tmp_path, uri))
    ids = [e.experiment_id for e in client.search_experiments()]
    kind = "tags.`chemprop_hpo.kind` = 'sweep'"
    assert len(client.search_runs(ids, kind)) == 2


# ----------------------------------------------------------------------------- who is at work


def driver_elsewhere(loaded: LoadedSweep) -> subprocess.Popen[str]:
    """Start a process that registers as a driver, runs a trial and waits to be killed."""
    code = (
        "import sys, time\n"
        "from chemprop_hpo.storage.database import open_database\n"
        "from chemprop_hpo.storage.ownership import Driver\n"
        "from chemprop_hpo.storage.studies import open_study\n"
        "db = open_database(sys.argv[1]); study = open_study(db, 'esol')\n"
        "driver = Driver.register(db, study)\n"
        "trial = study.ask(); trial.suggest_int('depth', 2, 9)\n"
        "for n, v in {'driver': driver.id, 'seed': 3, 'head': 'regression'}.items():\n"
        "    trial.set_user_attr(n, v)\n"
        "trial.report(0.5, 1); trial.report(0.4, 2)\n"
        "print(trial.number, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, loaded.config.study.storage]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def driver(loaded: LoadedSweep) -> Iterator[subprocess.Popen[str]]:
    process = driver_elsewhere(loaded)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "0"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_a_driver_is_at_work_on_is_left_to_it_until_it_is_killed(
    loaded: LoadedSweep, client: MlflowClient, driver: Any, tmp_path: Path
) -> None:
    added = filled(loaded)
    assert added.runs == 1
    assert by_number(client)[None].info.status == "RUNNING"

    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    added = filled(loaded)
    assert (added.runs, added.steps, added.ended) == (1, 2, 1)
    runs = by_number(client)
    assert {n: run.info.status for n, run in runs.items()} == {None: "KILLED", 0: "KILLED"}
    assert runs[0].data.tags["chemprop_hpo.stop_reason"] == "orphaned"
    assert curve(client, runs[0], "best_so_far") == [(1, 0.5), (2, 0.4)]
    before = content(tmp_path)
    assert not filled(loaded)
    assert content(tmp_path) == before


def below(sweep: Run, number: int) -> dict[str, str]:
    """Return the tags of a trial's run."""
    return {
        "mlflow.parentRunId": sweep.info.run_id,
        "chemprop_hpo.sweep": sweep.info.run_id,
        "chemprop_hpo.kind": "trial",
        "chemprop_hpo.trial": str(number),
    }


def test_of_two_runs_of_a_trial_the_first_counts_and_the_other_is_ended(
    loaded: LoadedSweep, trials: None, client: MlflowClient
) -> None:
    filled(loaded)
    runs = by_number(client)
    sweep = runs[None]
    # A request that was answered too late was made again.
    twin = client.create_run(sweep.info.experiment_id, tags=below(sweep, 0))
    assert filled(loaded) == Added(ended=1)
    assert client.get_run(twin.info.run_id).info.status == "KILLED"
    assert client.get_run(runs[0].info.run_id).info.status == "FINISHED"
    assert not filled(loaded)


def test_a_run_that_is_running_and_belongs_to_nobody_is_ended(
    loaded: LoadedSweep, client: MlflowClient
) -> None:
    filled(loaded)
    sweep = by_number(client)[None]
    lost = client.create_run(sweep.info.experiment_id, tags=below(sweep, 77))
    db, study = opened(loaded)
    with db:
        driver = Driver.register(db, study)
        assert fill_in(db, study, loaded.config).ended == 0
        driver.leave()
    assert filled(loaded).ended == 1
    assert client.get_run(lost.info.run_id).info.status == "KILLED"


def test_a_store_that_is_away_is_one_line(
    loaded: LoadedSweep, trials: None, free_port: int
) -> None:
    where = loaded.config.mlflow.model_copy(
        update={"tracking_uri": f"http://127.0.0.1:{free_port}"}
    )
    db, study = opened(loaded)
    with db, pytest.raises(TrackingError, match="cannot reach the MLflow server"):
        fill_in(db, study, loaded.config.model_copy(update={"mlflow": where}))
