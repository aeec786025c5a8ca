"""A study has one run of its own, whoever works on it and wherever its database is reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.tracking.mlflow_runs import MlflowObserver
from chemprop_hpo.hpo.tracking.run_log import RunLog
from tests.hpo.tracking.real_server import wait_for
from tests.hpo.tracking.sweeps_told import (
    CONFIG,
    MANIFEST,
    SPACE,
    ended,
    observer,
    over,
    play,
    split_runs,
    started,
    trial,
)


@pytest.mark.parametrize(
    "other",
    [
        {"study": "freesolv"},
        {"created": "1763800000.26"},  # deleted and begun anew, or of another database
    ],
    ids=["other study", "same name"],
)
def test_another_study_gets_a_parent_of_its_own(
    uri: str, client: MlflowClient, other: dict[str, str]
) -> None:
    play(observer(uri), started(), over())
    play(observer(uri, **other), started(resumed=True), over())
    parents, _ = split_runs(client)
    assert len(parents) == 2


@pytest.mark.parametrize("resumed", [True, False])
def test_a_study_has_one_parent_wherever_its_database_is_reached(
    uri: str, client: MlflowClient, resumed: bool
) -> None:
    urls = ("postgresql+psycopg://me@postgres:5432/studies", "postgresql://127.0.0.1/studies")
    play(observer(uri), started(storage=urls[0]), over())
    play(observer(uri), started(storage=urls[1], resumed=resumed), over())
    parents, _ = split_runs(client)
    assert len(parents) == 1


def test_of_two_drivers_that_create_a_parent_at_once_one_gives_way(
    uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = observer(uri)
    play(first, started())
    wait_for(lambda: first.parent_run_id is not None)
    find, looks = RunLog.find_parent, iter([None])
    monkeypatch.setattr(RunLog, "find_parent", lambda log: next(looks, 0) or find(log))
    second = observer(uri)
    play(second, started())
    wait_for(lambda: second.parent_run_id is not None)
    assert second.parent_run_id == first.parent_run_id
    for told in (first, second):
        play(told, over())
    [parent], _ = split_runs(client)
    assert parent.info.run_id == first.parent_run_id


def test_what_the_first_driver_said_of_itself_stays(uri: str, client: MlflowClient) -> None:
    play(observer(uri), started(), over("interrupted"))
    config = MlflowConfig(tracking_uri=uri)
    other = MANIFEST | {"git": {"commit": "decade", "dirty": True}}
    again = MlflowObserver(config, "esol", CONFIG, other, SPACE, created="1763800000.25")
    play(again, started(resumed=True), over())
    [parent], _ = split_runs(client)
    assert parent.data.tags["chemprop_hpo.git.commit"] == "c0ffee"
    assert parent.data.tags["chemprop_hpo.git.dirty"] == "false"
    (folder,) = [f.path for f in client.list_artifacts(parent.info.run_id) if f.is_dir]
    file = client.download_artifacts(parent.info.run_id, f"{folder}/manifest.json")
    assert json.loads(Path(file).read_text())["git"]["commit"] == "decade"


def test_the_last_of_several_drivers_ends_the_parent(uri: str, client: MlflowClient) -> None:
    one, other = observer(uri, others_at_work=lambda: True), observer(uri)
    play(one, started(), trial(0))
    wait_for(lambda: one.parent_run_id is not None)  # or both make one, until one gives way
    play(other, started(resumed=True), trial(1))
    play(one, over("interrupted"))
    [parent], trials = split_runs(client)
    assert parent.info.status == "RUNNING"
    assert "chemprop_hpo.reason" not in parent.data.tags
    assert trials[0].info.status == "KILLED"
    play(other, ended(1), over())
    [parent], trials = split_runs(client)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["chemprop_hpo.reason"] == "finished"
