"""A predictor becomes a run of its own, a version, and the one candidate."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_dict

from chemprop_hpo.configs.errors import DataError, PromotionConflictError, TrackingError
from chemprop_hpo.hpo.promotion.candidate import Candidate, check_registry, register_candidate
from tests.hpo.promotion.made_registry import (
    GOOD,
    Place,
    aliases,
    config_of,
    promoted,
    rolled_back,
    write_record,
)

BETTER = {**GOOD, "test_rmse": 0.5, "test_mae": 0.4}


def registered(place: Place, predictor: Path) -> Candidate:
    with place.ledger() as ledger:
        return register_candidate(place.registry(), ledger, place.config, predictor)


def test_a_candidate_is_a_run_of_its_own_and_a_version(place: Place) -> None:
    made = place.candidate()
    registry = place.registry()
    (version,) = registry.versions()
    assert (made.version, version.number, version.aliases) == ("1", "1", ("candidate",))
    run = registry.client.get_run(made.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_rmse"] == 0.6
    assert run.data.params == {"depth": "2", "seed": "1"}
    assert registry.record(version).provenance.git_commit == "c" * 40
    names = {one.path for one in registry.client.list_artifacts(made.run_id)}
    assert names == {"model", "record.json", "decision.json", "test_predictions.csv"}


def test_there_is_one_candidate_at_a_time(place: Place) -> None:
    place.candidate()
    second = place.candidate(0.5)
    assert (second.version, second.replaced) == ("2", "1")
    assert aliases(place) == {"candidate": "2"}
    with place.ledger() as ledger:
        moves = ledger.history(place.registry().model, "candidate")
    assert [(m.expected, m.version, m.state) for m in moves] == [
        (None, "1", "done"),
        ("1", "2", "done"),
    ]


def test_the_same_predictor_is_registered_once(place: Place) -> None:
    predictor = place.predictor()
    with place.ledger() as ledger:
        first = register_candidate(place.registry(), ledger, place.config, predictor)
        again = register_candidate(place.registry(), ledger, place.config, predictor)
    assert (again.version, again.run_id, again.replaced) == (first.version, first.run_id, None)
    assert len(place.registry().versions()) == 1


def test_what_overfits_is_logged_and_not_registered(place: Place) -> None:
    metrics = {"generalisation_gap": 1.5, "best_val_rmse": 2.0, "test_rmse": 2.0}
    predictor = place.predictor()
    write_record(predictor, metrics={**metrics, "test_mae": 1.0, "test_r2": 0.2})
    with place.ledger() as ledger:
        made = register_candidate(place.registry(), ledger, place.config, predictor)
    assert made.version is None
    assert [rule.name for rule in made.decision.blocked] == ["generalisation_gap"]
    assert place.registry().versions() == []
    run = place.registry().client.get_run(made.run_id)
    assert run.data.tags["chemprop_hpo.eligible"] == "false"


def test_a_missing_figure_is_named(place: Place) -> None:
    predictor = place.predictor()
    write_record(predictor, metrics={"best_val_rmse": 0.5, "generalisation_gap": 0.0})
    with place.ledger() as ledger:
        made = register_candidate(place.registry(), ledger, place.config, predictor)
    assert made.version is None
    assert "test_rmse" in made.decision.reason


def test_a_record_of_another_predictor_is_refused(place: Place) -> None:
    predictor = place.predictor()
    write_record(predictor, manifest="0" * 64)
    with place.ledger() as ledger, pytest.raises(DataError, match="is of another predictor"):
        register_candidate(place.registry(), ledger, place.config, predictor)


def test_a_predictor_without_a_record_is_refused(place: Place) -> None:
    predictor = place.predictor()
    (predictor.parent / "records.json").unlink()
    with place.ledger() as ledger, pytest.raises(DataError, match="records.json: there is no such"):
        register_candidate(place.registry(), ledger, place.config, predictor)
    assert place.registry().versions() == []


def test_a_run_that_was_not_eligible_says_so_no_longer_once_it_is(place: Place) -> None:
    predictor = place.predictor()
    write_record(predictor, metrics={**GOOD, "generalisation_gap": 0.8})
    first = registered(place, predictor)
    place.config = config_of(place.uri, max_generalisation_gap=0.5)
    second = registered(place, predictor)
    assert (first.version, second.version, second.run_id) == (None, "1", first.run_id)
    run = place.registry().client.get_run(second.run_id)
    assert run.data.tags["chemprop_hpo.eligible"] == "true"
    decision = load_dict(f"{run.info.artifact_uri}/decision.json")
    assert decision == second.decision.as_dict()


def test_the_champion_does_not_displace_the_candidate_that_waits(place: Place) -> None:
    champion = place.predictor()
    registered(place, champion)
    promoted(place)
    place.candidate(0.5)
    again = registered(place, champion)
    assert (again.version, again.is_champion, again.replaced) == ("1", True, None)
    assert aliases(place) == {"champion": "1", "candidate": "2"}


@pytest.mark.parametrize("commit", ["c" * 40, "f" * 40])
def test_what_was_rolled_back_is_not_registered_again(place: Place, commit: str) -> None:
    place.candidate()
    promoted(place)
    predictor = place.predictor(0.5)
    registered(place, predictor)
    promoted(place)
    rolled_back(place)
    write_record(predictor, metrics=BETTER, provenance={"git_commit": commit})
    again = registered(place, predictor)
    assert again.version is None
    assert [rule.name for rule in again.decision.blocked] == ["rolled_back"]
    assert "version 2" in again.decision.reason
    assert aliases(place) == {"champion": "1"}
    assert [version.number for version in place.registry().versions()] == ["1", "2"]


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ([], "records.json: tells nothing of combined"),
        ({"combined": []}, "records.json: tells nothing of combined"),
        ({"combined": "a model"}, "records.json: tells nothing of combined"),
        ({"combined": {"manifest": "0" * 64}}, "records.json: tells nothing of combined"),
    ],
)
def test_a_record_that_is_none_is_refused_in_one_line(
    place: Place, damaged: Any, message: str
) -> None:
    predictor = place.predictor()
    (predictor.parent / "records.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match=message):
        registered(place, predictor)


def test_hyperparameters_without_names_are_refused(place: Place) -> None:
    predictor = place.predictor()
    write_record(predictor, provenance={"hyperparameters": [2]})
    with pytest.raises(DataError, match="the hyperparameters of combined have no names"):
        registered(place, predictor)


# ------------------------------------------------------------------ before anything is trained


def test_an_alias_that_a_hand_has_moved_is_told_before_the_training(place: Place) -> None:
    place.candidate()
    place.registry().client.set_registered_model_alias("alkanes", "champion", "1")
    with place.ledger() as ledger, pytest.raises(PromotionConflictError, match="moved by hand"):
        check_registry(place.registry(), ledger, place.config)


def test_a_deleted_experiment_is_told_before_the_training(place: Place) -> None:
    client = MlflowClient(tracking_uri=place.uri)
    client.delete_experiment(client.create_experiment("chemprop_hpo"))
    with place.ledger() as ledger, pytest.raises(TrackingError, match="'chemprop_hpo' .*deleted"):
        check_registry(place.registry(), ledger, place.config)


# ------------------------------------------------------------------ kills


@pytest.mark.parametrize("step", ["logged", "version"])
def test_a_candidate_that_is_killed_is_registered_once_by_the_next_command(
    place: Place, step: str
) -> None:
    predictor = place.predictor()
    command = [sys.executable, "-m", "tests.hpo.promotion.killed_candidate"]
    killed = subprocess.run([*command, place.uri, str(predictor), step], timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    registry = place.registry()
    assert len(registry.versions()) == (step == "version")
    assert aliases(place) == {}
    made = registered(place, predictor)
    assert (made.version, made.is_new) == ("1", step == "logged")
    assert aliases(place) == {"candidate": "1"}
    (version,) = registry.versions()
    assert version.run_id == made.run_id
    assert registry.client.get_run(made.run_id).info.status == "FINISHED"
    with place.ledger() as ledger:
        assert ledger.unfinished(registry.model) == ()
