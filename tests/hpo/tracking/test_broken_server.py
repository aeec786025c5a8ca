"""A server of MLflow's that answers, and answers 500."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mlflow import MlflowClient

from chemprop_hpo.hpo.tracking import mlflow_runs
from chemprop_hpo.hpo.tracking.fill_in import fill_in
from tests.hpo.tracking.known_study import add_trial, known_study, opened
from tests.hpo.tracking.real_server import Way, wait_for
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
from tests.hpo.tracking.test_ensemble_runs import KEYS, Scene, by_kind


@pytest.fixture(autouse=True)
def _each_epoch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "GATHER_S", 0.0)


def test_a_server_that_answers_500_for_a_while_costs_a_warning(
    way: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = observer(way.uri, retry_every_s=0.2)
    play(told, started(), trial(0), epoch(0, 1))
    wait_for(lambda: told.run_id(0) is not None)
    way.breaks = lambda path: True
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, epoch(0, 2), epoch(0, 3))
        wait_for(lambda: bool(caplog.records))
        way.breaks = lambda path: False
        play(told, ended(0), over())
    [warning] = [record.getMessage() for record in caplog.records]
    assert "does not answer" in warning
    assert "the sweep goes on" in warning
    client = MlflowClient(tracking_uri=way.uri)
    [parent], trials = split_runs(client)
    assert (parent.info.status, trials[0].info.status) == ("FINISHED", "FINISHED")
    assert steps(client, trials[0], "val_loss") == [1, 2, 3]

    # Its own bucket may be what is broken: then metrics do not wait behind the artifacts.
    caplog.clear()
    way.breaks = lambda path: "mlflow-artifacts" in path
    loaded = known_study(tmp_path, way.uri)
    db, study = opened(loaded)
    with db, caplog.at_level(logging.WARNING, "chemprop_hpo"):
        add_trial(study, "COMPLETE", 0.4, 3)
        first = fill_in(db, study, loaded.config)
        assert (first.runs, first.steps, first.artifacts) == (2, 3, 0)
        texts = [record.getMessage() for record in caplog.records]
        assert sum("artifacts cannot be stored" in text for text in texts) == 1

        way.breaks = lambda path: False
        second = fill_in(db, study, loaded.config)
        assert (second.runs, second.steps, second.artifacts) == (0, 0, 4)
        assert not fill_in(db, study, loaded.config)


def test_ensembles_are_trained_on_while_the_server_answers_500(
    way: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = known_study(tmp_path, way.uri)
    scene = Scene(loaded, tmp_path)
    with scene.db:
        add_trial(scene.study, "COMPLETE", 0.4, 3)
        told = scene.tracker()
        told.begun()
        way.breaks = lambda path: True
        with caplog.at_level(logging.WARNING, "chemprop_hpo"):
            for key in KEYS:
                scene.train(key, told)
            scene.make()
            told.made()
            wait_for(lambda: any("does not answer" in r.getMessage() for r in caplog.records))
            way.breaks = lambda path: False
            told.close("finished")
        texts = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(texts) == 1
        assert "the training goes on" in texts[0]
        assert not scene.fill_in()
    runs = by_kind(MlflowClient(tracking_uri=way.uri))
    assert [run.info.status for run in (*runs["ensemble"], *runs["member"])] == ["FINISHED"] * 3
