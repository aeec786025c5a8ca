from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.hpo.tracking import mlflow_runs
from chemprop_hpo.hpo.tracking.account import read_account, read_best
from chemprop_hpo.hpo.tracking.outbox import Outbox
from tests.hpo.tracking.known_study import add_trial, known_study, opened
from tests.hpo.tracking.real_server import Server, wait_for
from tests.hpo.tracking.sweeps_told import (
    CONFIG,
    MANIFEST,
    SPACE,
    ended,
    epoch,
    observer,
    over,
    play,
    runs_of,
    split_runs,
    started,
    steps,
    trial,
)

# ----------------------------------------------------------------------------- a whole sweep


def test_sweep_becomes_a_parent_and_a_nested_run_for_each_trial(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    told = observer(uri)
    play(told, started(), trial(0), trial(1))
    play(told, *(epoch(n, e) for e in range(1, 6) for n in (0, 1)))
    play(told, ended(0), ended(1, "PRUNED", "asha"), over())

    [parent], trials = split_runs(client)
    assert parent.info.run_name == "esol"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["search_space.depth.low"] == "2"
    assert len(parent.data.params["data.target_cols"]) == 6000
    assert parent.data.tags["chemprop_hpo.git.commit"] == "c0ffee"
    assert parent.data.tags["chemprop_hpo.versions.torch"] == "2.13.0"
    assert parent.data.tags["chemprop_hpo.best_trial"] == "0"
    assert sorted(trials) == [0, 1]
    for number, run in trials.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
        assert run.data.params["depth"] == str(3 + number)
        assert run.data.params["seed"] == str(40 + number)
        assert run.data.tags["chemprop_hpo.head"] == "branched"
        assert steps(client, run, "val_loss") == [1, 2, 3, 4, 5]
        assert steps(client, run, "best/val_rmse") == [4]
        assert told.run_id(number) == run.info.run_id
    assert trials[1].data.tags["chemprop_hpo.state"] == "PRUNED"
    assert trials[1].data.tags["chemprop_hpo.stop_reason"] == "asha"
    assert trials[1].data.tags["chemprop_hpo.best_epoch"] == "4"
    assert told.parent_run_id == parent.info.run_id


def test_artifacts_lie_beside_the_database_file(
    uri: str, client: MlflowClient, tmp_path: Path
) -> None:
    play(observer(uri), started(), over())
    [parent], _ = split_runs(client)
    folder = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert folder.is_relative_to(tmp_path / "mlruns")
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    assert json.loads((folder / "manifest.json").read_text()) == MANIFEST
    assert json.loads((folder / "space.json").read_text()) == SPACE


def test_relative_sqlite_url_is_kept_in_the_folder_where_the_sweep_began(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_database, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        play(observer("sqlite:///mlflow.db"), started(), trial(0), over())
    for name in ("a", "b"):
        found = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / name / 'mlflow.db'}")
        assert len(runs_of(found)) == 2


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [
        ("COMPLETE", "early_stopping", "FINISHED"),
        ("PRUNED", "oom", "FINISHED"),
        ("FAIL", "nan", "FAILED"),
        ("FAIL", "interrupted", "KILLED"),
    ],
)
def test_status_of_a_trial_follows_its_state(
    uri: str, client: MlflowClient, state: str, reason: str, status: str
) -> None:
    play(observer(uri), started(), trial(0), ended(0, state, reason, error="lost it"), over())
    _, trials = split_runs(client)
    assert trials[0].info.status == status
    assert trials[0].data.tags["chemprop_hpo.error"] == "lost it"


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("finished", "FINISHED"),
        ("time_budget", "FINISHED"),
        ("interrupted", "KILLED"),
        ("failed", "FAILED"),
    ],
)
def test_no_run_is_left_running(uri: str, client: MlflowClient, reason: str, status: str) -> None:
    play(observer(uri), started(), trial(0), epoch(0, 1), trial(1), ended(1), over(reason))
    [parent], trials = split_runs(client)
    assert parent.info.status == status
    assert (trials[0].info.status, trials[1].info.status) == ("KILLED", "FINISHED")


def test_program_that_ends_without_a_word_leaves_no_run_running(
    uri: str, client: MlflowClient
) -> None:
    code = (
        "import sys, test_mlflow_runs as t\n"
        "t.play(t.observer(sys.argv[1]), t.started(), t.trial(0), t.epoch(0, 1))\n"
        "raise RuntimeError('a bug')\n"
    )
    path = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code, uri], env=path, capture_output=True)
    assert b"a bug" in done.stderr
    [parent], trials = split_runs(client)
    assert (parent.info.status, trials[0].info.status) == ("FAILED", "KILLED")
    assert steps(client, trials[0], "val_loss") == [1]


# ----------------------------------------------------------------------------- resuming


def test_resumed_sweep_goes_on_with_the_same_parent(uri: str, client: MlflowClient) -> None:
    play(observer(uri), started(), trial(0), epoch(0, 1), over("interrupted"))
    again = observer(uri)
    play(again, started(resumed=True), trial(1, continues=0), epoch(1, 1), epoch(1, 2))
    wait_for(lambda: again.run_id(1) is not None)
    assert client.get_run(str(again.parent_run_id)).info.status == "RUNNING"
    play(again, ended(1), over())

    [parent], trials = split_runs(client)
    assert parent.info.status == "FINISHED"
    assert trials[1].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trials[1].data.tags["chemprop_hpo.continues"] == "0"
    assert trials[0].data.tags["chemprop_hpo.continued_by"] == "1"
    assert steps(client, trials[1], "val_loss") == [1, 2]


def test_trial_of_a_killed_driver_is_ended_by_its_continuation(
    uri: str, client: MlflowClient
) -> None:
    play(observer(uri), started(), trial(0), epoch(0, 1), over())
    [parent], trials = split_runs(client)
    for run in (parent, trials[0]):
        client.update_run(run.info.run_id, status="RUNNING")
    play(observer(uri), started(resumed=True), trial(1, continues=0), ended(1), over())
    [parent], trials = split_runs(client)
    assert trials[0].info.status == "KILLED"
    assert trials[0].data.tags["chemprop_hpo.stop_reason"] == "orphaned"


def test_orphan_that_was_killed_before_it_had_parameters_gets_its_successors(
    uri: str, client: MlflowClient
) -> None:
    first = observer(uri)
    play(first, started(), trial(0))
    wait_for(lambda: first.run_id(0) is not None)
    assert not split_runs(client)[1][0].data.params
    play(observer(uri), started(), trial(1, continues=0), ended(1), over())
    _, trials = split_runs(client)
    assert trials[0].data.params == trials[1].data.params
    assert trials[0].info.status == "KILLED"
    play(first, over())


def test_parameters_that_are_refused_cost_no_metric(
    uri: str, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    told = observer(uri)
    play(told, started(), trial(0))
    wait_for(lambda: told.run_id(0) is not None)
    client.log_param(str(told.run_id(0)), "depth", "3.0")  # another took this driver for gone
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, epoch(0, 1), epoch(0, 2), ended(0), over())
    _, trials = split_runs(client)
    assert trials[0].data.params["depth"] == "3.0"
    assert steps(client, trials[0], "val_loss") == [1, 2]
    assert trials[0].data.tags["chemprop_hpo.state"] == "COMPLETE"
    assert trials[0].info.status == "FINISHED"
    assert "refuses an entry" in caplog.text


def test_epoch_that_is_told_twice_is_logged_once(uri: str, client: MlflowClient) -> None:
    play(observer(uri), started(), trial(0), epoch(0, 1), epoch(0, 2), epoch(0, 2), over())
    _, trials = split_runs(client)
    assert steps(client, trials[0], "val_loss") == [1, 2]


def test_entry_that_is_delivered_twice_counts_once(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An answer that was lost on its way makes a delivery happen again.
    put = Outbox.put

    def put_twice(self: Outbox, delivery: Callable[[], None]) -> None:
        put(self, delivery)
        put(self, delivery)

    monkeypatch.setattr(Outbox, "put", put_twice)
    play(observer(uri), started(), trial(0), epoch(0, 1), epoch(0, 2), ended(0), over())
    [parent], trials = split_runs(client)
    assert len(runs_of(client)) == 2
    assert (parent.info.status, trials[0].info.status) == ("FINISHED", "FINISHED")
    assert steps(client, trials[0], "val_loss") == [1, 2]
    assert steps(client, trials[0], "best/val_rmse") == [4]


def test_a_resumed_sweep_adds_what_the_killed_driver_did_not_log(
    uri: str, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "GATHER_S", 0.0)
    # The driver was killed with trial 0 at its first epoch for MLflow, at its end for the study.
    killed = observer(uri)
    play(killed, started(), trial(0), epoch(0, 1))
    wait_for(lambda: killed.run_id(0) is not None)
    loaded = known_study(tmp_path, uri)
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.4, 3)
        add_trial(study, "PRUNED", 0.9, 4, stop_reason="asha")
        account = partial(read_account, db, study, loaded.config)
        best = partial(read_best, study, loaded.config)
        again = observer(uri, read_account=account, read_best=best)
        play(again, started(resumed=True), trial(2), epoch(2, 1), ended(2), over())
        killed.sweep_ended(over("interrupted"))
    [parent], trials = split_runs(client)
    assert sorted(trials) == [0, 1, 2]
    assert steps(client, trials[0], "best_so_far") == [1, 2, 3]
    assert steps(client, trials[1], "best_so_far") == [1, 2, 3]
    assert trials[1].data.tags["chemprop_hpo.stop_reason"] == "asha"
    assert parent.data.metrics["top_1_val_loss"] == 0.4
    folder = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert yaml.safe_load((folder / "best_configs.yaml").read_text())["model"]["depth"] == 3


# ----------------------------------------------------------------------------- names and values


def test_figures_of_the_best_epoch_stand_under_the_names_that_people_look_for(
    uri: str, client: MlflowClient
) -> None:
    play(observer(uri), started(), trial(0), epoch(0, 1), epoch(0, 5), ended(0), over())
    _, trials = split_runs(client)
    metrics = trials[0].data.metrics
    assert (metrics["best_val_rmse"], metrics["val_rmse"]) == (0.4, 0.4)
    assert (metrics["train_rmse"], metrics["generalisation_gap"]) == (0.3, 0.1)
    assert steps(client, trials[0], "best_val_rmse") == [4]
    assert steps(client, trials[0], "val_rmse") == [1, 5]


def test_names_that_mlflow_refuses_are_logged_and_can_be_traced_back(
    uri: str, client: MlflowClient
) -> None:
    name = "val_rmse/Log Caco-2 Permeability Papp A>B"
    told = observer(uri)
    play(told, started(), trial(0), epoch(0, 1, **{name: 0.7}), ended(0), over())
    [parent], trials = split_runs(client)
    shown = "val_rmse/Log Caco-2 Permeability Papp A_B"
    assert trials[0].data.metrics[shown] == 0.7
    assert parent.data.tags[f"chemprop_hpo.name.{shown}"] == name


def test_values_that_are_not_finite_are_left_out(uri: str, client: MlflowClient) -> None:
    values = {"val_loss": 0.5, "val_r2": float("nan"), "val_mae": float("inf")}
    play(observer(uri), started(), trial(0), epoch(0, 1, **values), over())
    _, trials = split_runs(client)
    assert trials[0].data.metrics["val_loss"] == 0.5
    assert not {"val_r2", "val_mae"} & trials[0].data.metrics.keys()


# ----------------------------------------------------------------------------- what can be wrong


def test_unreachable_server_is_one_clear_line_within_seconds(free_port: int) -> None:
    begin = time.monotonic()
    uri = f"http://me:hunter2@127.0.0.1:{free_port}"
    with pytest.raises(TrackingError) as caught:
        observer(uri)
    assert time.monotonic() - begin < 10
    message = str(caught.value)
    assert f"cannot reach the MLflow server at http://me:***@127.0.0.1:{free_port}" in message
    assert f"mlflow server --host 127.0.0.1 --port {free_port}" in message
    assert "mlflow.tracking=false" in message
    assert "\n" not in message
    assert "hunter2" not in message
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_refused_entry_costs_one_warning_and_nothing_else(
    uri: str, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    told = observer(uri)
    play(told, started(), trial(0), trial(1))
    wait_for(lambda: told.run_id(1) is not None)
    client.delete_run(str(told.run_id(0)))
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, epoch(0, 1), epoch(0, 2), epoch(1, 1), ended(1), over())
    first, last = (record.getMessage() for record in caplog.records)
    assert "refuses an entry" in first
    assert "entries could not be logged" in last
    _, trials = split_runs(client)
    assert steps(client, trials[1], "val_loss") == [1]


def test_driver_is_not_kept_waiting(uri: str) -> None:
    told = observer(uri)
    play(told, started(), trial(0))
    begin = time.perf_counter()
    play(told, *(epoch(0, e) for e in range(1, 101)))
    per_epoch = (time.perf_counter() - begin) / 100
    told.sweep_ended(over())
    assert per_epoch < 0.003  # one call of MLflow's takes about 10 ms
    assert not [t for t in threading.enumerate() if t.name == "mlflow-outbox"]


# ----------------------------------------------------------------------------- a real server


def test_server_that_goes_away_and_comes_back_costs_a_warning_and_no_step(
    server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    told = observer(server.uri, retry_every_s=0.3)
    play(told, started(), trial(0), epoch(0, 1))
    wait_for(lambda: told.run_id(0) is not None)
    server.stop()
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, *(epoch(0, e) for e in range(2, 6)), trial(1), epoch(1, 1), ended(0))
        wait_for(lambda: bool(caplog.records))
        server.start()
        play(told, epoch(1, 2), ended(1), over())
    [warning] = [record.getMessage() for record in caplog.records]
    assert "does not answer" in warning

    client = MlflowClient(tracking_uri=server.uri)
    [parent], trials = split_runs(client)
    assert {run.info.status for run in (parent, *trials.values())} == {"FINISHED"}
    assert steps(client, trials[0], "val_loss") == [1, 2, 3, 4, 5]
    assert steps(client, trials[1], "val_loss") == [1, 2]
    assert "View run" not in capfd.readouterr().out

    # A server that stays away: the sweep ends soon, and says how much is missing.
    last = observer(server.uri, "lost", retry_every_s=0.3)
    server.stop()
    begin = time.monotonic()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(last, started(), trial(0), epoch(0, 1), ended(0), over())
    assert time.monotonic() - begin < 15
    assert "could not be logged" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2
