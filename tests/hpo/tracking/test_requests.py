"""How much is asked of the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient

from chemprop_hpo.hpo.tracking import mlflow_runs
from chemprop_hpo.hpo.tracking.run_log import RunLog
from tests.hpo.tracking.real_server import wait_for
from tests.hpo.tracking.sweeps_told import (
    ended,
    epoch,
    observer,
    over,
    play,
    split_runs,
    started,
    steps,
    trial,
)


def test_the_epochs_of_a_trial_go_in_one_request(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = 0
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, metrics: Any = (), *more: Any, **o: Any) -> Any:
        nonlocal requests
        requests += bool(metrics)
        return log_batch(self, run_id, metrics, *more, **o)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    told = observer(uri)
    play(told, started(), trial(0), *(epoch(0, e) for e in range(1, 6)), over())
    assert requests == 1
    _, trials = split_runs(client)
    assert steps(client, trials[0], "val_rmse") == [1, 2, 3, 4, 5]
    history = client.get_metric_history(trials[0].info.run_id, "val_rmse")
    ends = [entry.timestamp for entry in history]
    assert ends == sorted(ends)


def test_a_trial_costs_three_requests(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        real = getattr(MlflowClient, name)

        def call(self: MlflowClient, *arguments: Any, **options: Any) -> Any:
            made.append(name)
            return real(self, *arguments, **options)

        return call

    def of_trials() -> list[str]:
        made.clear()
        play(observer(uri, f"told {len(told)}"), started(), *told, over())
        return made.copy()

    for name in ("search_runs", "get_run", "create_run", "log_batch", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, noted(name))
    told: list[object] = []
    of_none = of_trials()
    told = [trial(0), *(epoch(0, number) for number in range(1, 6)), ended(0)]
    assert len(of_trials()) - len(of_none) == 3
    _, trials = split_runs(client)
    assert steps(client, trials[0], "val_rmse") == [1, 2, 3, 4, 5]
    assert trials[0].data.metrics["best/val_rmse"] == 0.4
    assert trials[0].data.params["seed"] == "40"
    assert trials[0].data.tags["chemprop_hpo.head"] == "branched"
    assert trials[0].data.tags["chemprop_hpo.stop_reason"] == "max_t"


def test_what_is_gathered_is_sent_once_it_is_due(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "GATHER_S", 0.2)
    told = observer(uri)
    play(told, started(), trial(0), epoch(0, 1), epoch(0, 2))
    wait_for(lambda: told.run_id(0) is not None)
    time.sleep(0.3)
    told.tick()
    wait_for(lambda: steps(client, split_runs(client)[1][0], "val_loss") == [1, 2])
    told.sweep_ended(over())


def test_what_another_trial_has_gathered_waits_for_its_own_time(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(mlflow_runs, "monotonic", lambda: now)
    sent: list[int] = []
    log_steps = RunLog.log_steps

    def noted(self: RunLog, number: int, *arguments: Any) -> None:
        sent.append(number)
        log_steps(self, number, *arguments)

    monkeypatch.setattr(RunLog, "log_steps", noted)
    told = observer(uri)
    play(told, started(), trial(0), epoch(0, 1))
    now += 0.75 * mlflow_runs.GATHER_S
    play(told, trial(1), epoch(1, 1))
    now += 0.5 * mlflow_runs.GATHER_S
    play(told, epoch(0, 2))  # with which the first is due
    now += 0.6 * mlflow_runs.GATHER_S
    play(told, epoch(0, 3), over())
    assert sent == [0, 1, 0]


def test_parameters_do_not_wait_for_a_first_epoch_that_lasts(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_runs, "GATHER_S", 0.2)
    told = observer(uri)
    play(told, started(), trial(0))
    wait_for(lambda: told.run_id(0) is not None)
    time.sleep(0.3)
    told.tick()
    wait_for(lambda: "seed" in split_runs(client)[1][0].data.params)
    play(told, epoch(0, 1), ended(0), over())
    _, trials = split_runs(client)
    assert steps(client, trials[0], "val_loss") == [1]


def test_a_hundred_parameters_and_more_come_with_metrics_of_many_steps(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = MlflowClient.log_batch

    def limited(
        self: MlflowClient,
        run_id: str,
        metrics: Any = (),
        params: Any = (),
        tags: Any = (),
        **more: Any,
    ) -> Any:
        # MLflow's client would make more requests of a larger one.
        assert max(len(params), len(tags)) <= 100
        assert len(metrics) + len(params) + len(tags) <= 1000
        return log_batch(self, run_id, metrics, params, tags, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", limited)
    many = trial(0)
    many = replace(many, params={f"x{i}": i for i in range(230)})
    play(observer(uri), started(), many, *(epoch(0, e) for e in range(1, 301)), ended(0), over())
    _, trials = split_runs(client)
    assert len(trials[0].data.params) == 231
    assert len(steps(client, trials[0], "val_loss")) == 300
