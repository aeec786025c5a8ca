"""The command ``track``: what MLflow lacks of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.hpo.commands.shell import Shell
from tests.hpo.tracking.known_study import add_trial, content, known_study, opened


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study with two trials that MLflow has not heard of; its data file is nowhere."""
    monkeypatch.chdir(tmp_path)
    loaded = known_study(tmp_path, "sqlite:///mlflow.db")
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.4, 3)
        add_trial(study, "PRUNED", 0.9, 4, stop_reason="asha")
    return loaded.config.study.storage


def test_it_says_in_one_line_what_it_added_and_a_second_time_that_nothing_was_missing(
    shell: Shell, storage: str, tmp_path: Path
) -> None:
    assert shell("track", "--storage", storage) == 0
    [line] = shell.out.splitlines()
    assert line.startswith("MLflow at sqlite:///mlflow.db: added 3 runs, ")
    assert "6 epochs" in line
    assert line.endswith(", 6 artifacts")
    assert "most recent study: esol" in shell.err
    before = content(tmp_path)

    assert shell("track", "--study", "esol", "--storage", storage) == 0
    assert shell.out == "MLflow at sqlite:///mlflow.db: nothing was missing\n"
    assert content(tmp_path) == before


def test_another_store_can_be_named(shell: Shell, storage: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert shell("track", "--storage", storage, f"mlflow.tracking_uri={other}") == 0
    assert not (tmp_path / "mlflow.db").exists()
    client = MlflowClient(tracking_uri=other)
    experiment = client.get_experiment_by_name("chemprop_hpo")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mlflow.tracking=false"], "mlflow.tracking: false; give mlflow.tracking=true"),
        (["--study", "eso"], "no study 'eso'"),
        (["mlflow.tracking_uri=./mlruns"], "MLflow keeps runs in folders no longer"),
        (["tracking"], "'tracking' is no override"),
        (["mlflow.artifact_location=3"], "mlflow.artifact_location"),
    ],
)
def test_what_is_wrong_is_one_line(
    shell: Shell, storage: str, arguments: list[str], said: str
) -> None:
    assert shell("track", "--storage", storage, *arguments) == 2
    error = shell.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


def test_artifacts_that_have_no_place_are_counted_and_cost_no_more(
    shell: Shell, storage: str, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("a file where a folder should be")
    place = f"mlflow.artifact_location={tmp_path / 'full' / 'kept'}"
    assert shell("track", "--storage", storage, place) == 0
    assert "6 artifacts could not be stored" in shell.out
    assert shell.err.count("artifacts cannot be stored in") == 1
    assert str(tmp_path / "full" / "kept") in shell.err
    assert shell("track", "--storage", storage, place) == 0
    assert shell.out.endswith("mlflow.db: 6 artifacts could not be stored\n")
