"""Ensembles that MLflow is told of; members are trained here and not over Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.members.events import (
    MemberEnded,
    MemberEpoch,
    MembersStarted,
    MemberStarted,
    Tally,
)
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.run import make_ensembles
from chemprop_hpo.hpo.ensembles.tracked import Tracked
from chemprop_hpo.storage.member_records import MemberKey
from tests.hpo.ensembles.small_studies import TrainedHere, stored_study


def made(loaded: LoadedSweep) -> TrainedHere:
    training = TrainedHere()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MOST_RESAMPLES", 20)
        patch.setattr(run, "train_members", training)
        make_ensembles(loaded, Request(Choice(2)))
    return training


def by_kind(client: MlflowClient) -> dict[str, list[Run]]:
    ids = [e.experiment_id for e in client.search_experiments()]
    found: dict[str, list[Run]] = {}
    for one in client.search_runs(ids, max_results=1000):
        found.setdefault(one.data.tags["chemprop_hpo.kind"], []).append(one)
    return found


def steps(client: MlflowClient, member: Run) -> list[int]:
    return [m.step for m in client.get_metric_history(member.info.run_id, "best_so_far")]


def test_a_call_is_logged_with_the_figures_of_its_predictors_and_a_second_adds_no_run(
    tmp_path: Path,
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    loaded = stored_study(tmp_path, mlflow={"tracking_uri": uri})
    assert len(made(loaded).trained) == 4
    client = MlflowClient(tracking_uri=uri)
    runs = by_kind(client)
    assert {kind: len(of_kind) for kind, of_kind in runs.items()} == {
        "sweep": 1,
        "trial": 3,
        "ensemble": 1,
        "rank": 2,
        "member": 4,
    }
    assert all(one.info.status != "RUNNING" for of_kind in runs.values() for one in of_kind)
    [ensemble] = runs["ensemble"]
    records = json.loads((tmp_path / "study" / "ensembles" / "records.json").read_text())
    metrics = ensemble.data.metrics
    [second] = [one for one in runs["rank"] if one.info.run_name.startswith("rank 2")]
    for name, value in records["combined"]["metrics"].items():
        assert metrics[name] == pytest.approx(value), name
    for name, value in records["rank_2"]["metrics"].items():
        assert metrics[f"rank_2/{name}"] == pytest.approx(value), name
        assert second.data.metrics[name] == pytest.approx(value), name
    assert {"val_nrmse", "val_r2", "test_nrmse", "test_r2", "generalisation_gap"} <= metrics.keys()
    assert {"test_rmse/size", "test_mae/polar", "single_best/test_nrmse"} <= metrics.keys()
    assert ensemble.data.params["rank_1.trial"] == "1"
    assert (
        ensemble.data.tags["chemprop_hpo.dataset"] == (records["combined"]["provenance"]["dataset"])
    )
    kept = {file.path for file in client.list_artifacts(ensemble.info.run_id)}
    assert {"report.html", "plots", "records.json", "combined", "rank_1"} <= kept
    assert [steps(client, member) for member in runs["member"]] == [[1, 2, 3]] * 4

    assert made(loaded).trained == []
    again = by_kind(client)
    ids = {kind: sorted(one.info.run_id for one in found) for kind, found in again.items()}
    assert ids == {kind: sorted(one.info.run_id for one in found) for kind, found in runs.items()}
    assert again["ensemble"][0].data.metrics == metrics
    assert len(client.get_metric_history(ensemble.info.run_id, "test_nrmse")) == 1
    assert [steps(client, member) for member in again["member"]] == [[1, 2, 3]] * 4


def test_a_store_that_cannot_be_used_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be read as one" * 50)
    loaded = stored_study(tmp_path, mlflow={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    training = TrainedHere()
    monkeypatch.setattr(run, "train_members", training)
    with pytest.raises(TrackingError, match="mlflow"):
        make_ensembles(loaded, Request(Choice(2)))
    assert training.trained == []


class Heard:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: self.calls.append((name, *arguments))


def test_whoever_logs_is_told_which_member_it_was() -> None:
    heard, key, tally = Heard(), MemberKey(4, 0, 1, "cut"), Tally(0, 0, 1)
    tracked = Tracked(heard, [MemberKey(4, 0, 0, "other"), key])  # type: ignore[arg-type]  # a stand-in
    [observer] = tracked.observers
    observer.members_started(MembersStarted("s", "val_loss", "min", 9, 1, tally))
    observer.member_started(MemberStarted(4, 0, 1, 77, 0, 9, tally))
    observer.member_epoch(MemberEpoch(4, 0, 1, 2, 9, 0.5, 0.4, 1, 0.1, tally))
    observer.member_ended(MemberEnded(4, 0, 1, "complete", 0.4, 1, 2, "max_t", None, tally))
    tracked.made()
    assert heard.calls == [
        ("begun",),
        ("member_started", key, 77, 9),
        ("member_epoch", key, 2, 0.5, 0.4, 0.1),
        ("member_ended", key, "complete"),
        ("made",),
    ]
