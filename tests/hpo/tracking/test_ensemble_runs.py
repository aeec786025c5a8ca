from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.tracking.ensemble_runs import EnsembleRuns, Making
from chemprop_hpo.hpo.tracking.fill_in import fill_in
from chemprop_hpo.storage.ensembles import add_ensemble
from chemprop_hpo.storage.members import (
    MemberKey,
    NewMember,
    add_members,
    claim_member,
    end_member,
    release_member,
    write_epoch,
)
from chemprop_hpo.storage.ownership import Driver
from tests.hpo.tracking.known_study import METRICS, add_trial, content, known_study, opened

KEYS = [MemberKey(0, 0, fold, "c" * 64) for fold in (0, 1)]
CURVE = (0.9, 0.5, 0.7)
FIGURES = {"val_rmse": 0.6, "best_val_rmse": 0.6, "val_r2": 0.7, "generalisation_gap": 0.1}
FIGURES |= {"test_rmse": 0.65, "test_mae": 0.4, "test_r2": 0.6, "rank_1/test_rmse": 0.66}


class Scene:
    """A study with a complete trial, of which two members are trained by hand."""

    def __init__(self, loaded: LoadedSweep, folder: Path) -> None:
        self.loaded, self.folder = loaded, folder / "ensembles"
        self.db, self.study = opened(loaded)
        add_members(self.db, self.study, [NewMember(key, 11, "m", 3) for key in KEYS])

    def tracker(self) -> EnsembleRuns:
        making = Making(self.folder, {1: 0}, KEYS)
        return EnsembleRuns(self.db, self.study, self.loaded.config, making, retry_every_s=0.2)

    def train(
        self, key: MemberKey, told: EnsembleRuns | None = None, epochs: int = 3, end: bool = True
    ) -> None:
        driver = Driver.register(self.db, self.study)
        record = claim_member(self.db, self.study, driver.id, [key])
        assert record is not None
        if told:
            told.member_started(key, 11, 3)
        for epoch in range(record.epoch + 1, epochs + 1):
            best = min(CURVE[:epoch])
            write_epoch(
                self.db,
                record.id,
                driver.id,
                epoch=epoch,
                best_epoch=CURVE.index(best) + 1,
                value=best,
                curve=CURVE[:epoch],
            )
            if told:
                told.member_epoch(key, epoch, CURVE[epoch - 1], best, 0.1)
        if end:
            how: dict[str, Any] = {"stop_reason": "max_t", "metrics": METRICS}
            end_member(self.db, record.id, driver.id, "complete", **how)
        else:
            release_member(self.db, record.id, driver.id, "interrupted")
        if told:
            told.member_ended(key, "complete" if end else "waiting")
        driver.leave()

    def make(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "report.html").write_text("all of it")
        (self.folder / "plots").mkdir(exist_ok=True)
        (self.folder / "plots" / "parity.png").write_bytes(b"picture")
        (self.folder / "combined").mkdir(exist_ok=True)
        (self.folder / "combined" / "manifest.json").write_text("{}")
        record = {"trials": {"1": 0}, "members": 2, "failed": 0, "metrics": FIGURES}
        record |= {"keys": [list(key) for key in KEYS], "git": {"commit": "c0ffee"}}
        add_ensemble(self.db, self.study, str(self.folder), record)

    def fill_in(self) -> Any:
        return fill_in(self.db, self.study, self.loaded.config)


@pytest.fixture
def scene(uri: str, tmp_path: Path) -> Iterator[Scene]:
    loaded = known_study(tmp_path, uri)
    scene = Scene(loaded, tmp_path)
    add_trial(scene.study, "COMPLETE", 0.4, 3)
    yield scene
    scene.db.close()


def by_kind(client: MlflowClient) -> dict[str, list[Run]]:
    ids = [e.experiment_id for e in client.search_experiments()]
    found: dict[str, list[Run]] = {}
    for run in client.search_runs(ids, max_results=1000, order_by=["attributes.start_time ASC"]):
        found.setdefault(run.data.tags["chemprop_hpo.kind"], []).append(run)
    return found


def steps(client: MlflowClient, run: Run, name: str = "val_loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def told_all(scene: Scene) -> None:
    told = scene.tracker()
    told.begun()
    for key in KEYS:
        scene.train(key, told)
    scene.make()
    told.made()
    told.close("finished")


# ----------------------------------------------------------------------------- a whole call


def test_ensembles_become_a_run_below_the_sweep_with_one_for_each_member(
    scene: Scene, client: MlflowClient
) -> None:
    told_all(scene)
    runs = by_kind(client)
    [sweep], [ensemble], members = runs["sweep"], runs["ensemble"], runs["member"]
    assert ensemble.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert ensemble.data.params == {"rank_1.trial": "0", "rank_1.depth": "3"}
    assert ensemble.data.metrics == FIGURES
    tags = ensemble.data.tags
    assert tags["chemprop_hpo.folder"] == str(scene.folder)
    assert tags["chemprop_hpo.ranks"] == '{"1": 0}'
    assert tags["chemprop_hpo.git.commit"] == "c0ffee"
    [rank] = runs["rank"]
    assert rank.info.run_name == "rank 1: trial 0"
    assert rank.info.status == "FINISHED"
    assert rank.data.tags["mlflow.parentRunId"] == ensemble.info.run_id
    assert rank.data.params == {"depth": "3"}
    assert rank.data.metrics == {"test_rmse": 0.66}
    assert len(members) == 2
    for fold, run in enumerate(sorted(members, key=lambda run: run.info.run_name)):
        assert run.data.tags["mlflow.parentRunId"] == ensemble.info.run_id
        assert run.data.params["depth"] == "3"
        assert (run.data.params["seed"], run.data.params["fold"]) == ("11", str(fold))
        assert (steps(client, run), run.data.metrics["val_loss"]) == ([1, 2, 3], 0.7)
        assert run.data.metrics["best_val_rmse"] == 0.5
        assert run.data.metrics["generalisation_gap"] == 0.1
        assert run.data.tags["chemprop_hpo.stop_reason"] == "max_t"
    assert {run.info.status for group in runs.values() for run in group} == {"FINISHED", "KILLED"}
    assert [run.info.status for run in runs["sweep"]] == ["KILLED"]  # one trial of four


def test_report_pictures_and_manifests_are_its_artifacts(
    scene: Scene, client: MlflowClient
) -> None:
    told_all(scene)
    [ensemble] = by_kind(client)["ensemble"]
    folder = Path(ensemble.info.artifact_uri.removeprefix("file://"))
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "combined/manifest.json",
        "plots/parity.png",
        "report.html",
    ]
    assert (folder / "report.html").read_text() == "all of it"


def test_a_second_call_that_trains_nothing_duplicates_nothing(scene: Scene, tmp_path: Path) -> None:
    told_all(scene)
    scene.fill_in()
    before = content(tmp_path)
    told = scene.tracker()
    scene.make()
    told.made()
    told.close("finished")
    assert content(tmp_path) == before


def test_what_nobody_logged_is_read_from_the_database(
    scene: Scene, client: MlflowClient, tmp_path: Path
) -> None:
    for key in KEYS:
        scene.train(key)
    scene.make()
    added = scene.fill_in()
    assert (added.runs, added.steps) == (6, 9)
    runs = by_kind(client)
    [ensemble], members = runs["ensemble"], runs["member"]
    assert ensemble.data.metrics == FIGURES
    assert [steps(client, run) for run in members] == [[1, 2, 3], [1, 2, 3]]
    assert {run.data.tags["mlflow.parentRunId"] for run in members} == {ensemble.info.run_id}
    before = content(tmp_path)
    assert not scene.fill_in()
    assert content(tmp_path) == before


# ----------------------------------------------------------------------------- interrupted


def test_a_resumed_member_logs_no_epoch_twice(scene: Scene, client: MlflowClient) -> None:
    told = scene.tracker()
    told.begun()
    scene.train(KEYS[0], told, epochs=2, end=False)
    told.close("interrupted")
    runs = by_kind(client)
    assert [run.info.status for run in (*runs["ensemble"], *runs["member"])] == ["KILLED"] * 2
    assert runs["member"][0].data.tags["chemprop_hpo.stop_reason"] == "interrupted"

    told_all(scene)
    runs = by_kind(client)
    assert (len(runs["ensemble"]), len(runs["member"])) == (1, 2)
    for run in (*runs["ensemble"], *runs["member"]):
        assert run.info.status == "FINISHED"
    for run in runs["member"]:
        assert steps(client, run) == [1, 2, 3]
        assert steps(client, run, "best_so_far") == [1, 2, 3]
        assert run.data.tags["chemprop_hpo.stop_reason"] == "max_t"


def test_epochs_that_a_killed_driver_did_not_deliver_are_added_by_the_next_one(
    scene: Scene, client: MlflowClient
) -> None:
    scene.train(KEYS[0], epochs=2, end=False)  # known to the database alone
    told_all(scene)
    for run in by_kind(client)["member"]:
        assert steps(client, run) == [1, 2, 3]


def test_no_run_is_left_running_where_the_call_failed(scene: Scene, client: MlflowClient) -> None:
    told = scene.tracker()
    told.begun()
    told.member_started(KEYS[0], 11, 3)
    told.member_epoch(KEYS[0], 1, 0.9, 0.9, 0.1)
    told.close("failed")
    runs = by_kind(client)
    assert [run.info.status for run in (*runs["ensemble"], *runs["member"])] == ["FAILED"] * 2


def test_a_member_that_another_driver_took_is_left_to_it(
    scene: Scene, client: MlflowClient
) -> None:
    told = scene.tracker()
    told.begun()
    told.member_started(KEYS[0], 11, 3)
    told.member_ended(KEYS[0], "running")
    told.close("finished")
    [member] = by_kind(client)["member"]
    assert member.info.status == "RUNNING"
