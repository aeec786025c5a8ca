"""``registry``: from a study to the champion and back, as it is said on the command line."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.members import origin
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.tracking.manifest import GitState
from tests.hpo.commands.shell import Shell, in_a_process
from tests.hpo.ensembles.small_studies import TrainedHere, stored_study

ONE_TARGET = {"target_cols": ["polar"], "target_transforms": {}, "target_units": {}}
STUDY = ("--study", "small", "--storage", "sqlite:///studies.db")
STOPPED = "the training begins"
WIDE = "promotion.max_generalisation_gap=1000"


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from chemprop_hpo.hpo.tracking.server import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def lab(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study in a git repository, an empty store of MLflow's, and training without Ray."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    tracked = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    stored_study(tmp_path, data=ONE_TARGET, mlflow=tracked)
    git = ["git", "-C", str(tmp_path), "-c", "user.email=a@b", "-c", "user.name=a"]
    for command in (["init", "-q"], ["add", "molecules.csv"], ["commit", "-qm", "data"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(run, "train_members", TrainedHere())
    monkeypatch.setattr(writing, "write_report", lambda *_: None)
    monkeypatch.setattr(judging, "MOST_RESAMPLES", 20)
    return tmp_path


def test_a_study_becomes_a_champion_and_is_rolled_back(shell: Shell, lab: Path) -> None:
    assert shell("registry", "candidate", *STUDY, WIDE, "--select", "best") == 0
    assert "version 1 of 'small' is the candidate" in shell.out
    assert shell("registry", "promote", "--dry-run", *STUDY, WIDE) == 0
    assert "version 1 would become the champion; nothing was moved" in shell.out
    assert shell("registry", "promote", *STUDY, WIDE) == 0
    assert shell("registry", "status", *STUDY) == 0
    assert shell.out.splitlines()[2].split()[:3] == ["1", "champion", "model"]

    assert shell("registry", "candidate", *STUDY, WIDE, "--select", "best") == 0
    assert "version 1 of 'small' is this model, and the champion already" in shell.out
    assert "next:" not in shell.out
    assert shell("registry", "rollback", *STUDY, "--reason", "worse") == 2
    assert "has no champion before it" in shell.err
    assert shell("registry", "history", *STUDY) == 0
    moves = [line for line in shell.out.splitlines() if re.match(r"\d{4}-", line)]
    assert ["promote" in line for line in moves] == [False, True, True]


def test_an_ensemble_is_compared_with_the_champion_and_each_blocked_rule_says_why(
    shell: Shell, lab: Path
) -> None:
    assert shell("registry", "candidate", *STUDY, WIDE) == 0
    assert shell("registry", "promote", *STUDY, WIDE) == 0
    assert shell("ensembles", "--top-k", "2", *STUDY, "-o", "out") == 0
    assert shell("registry", "candidate", *STUDY, WIDE, "--ensemble", "out") == 0
    asked = "promotion.min_test_rmse_improvement=0.99"
    assert shell("registry", "promote", *STUDY, WIDE, asked) == 1
    assert "candidate 2 of 'small' against champion 1" in shell.out
    assert "BLOCKED  test_rmse" in shell.out
    assert "at least 99 %" in shell.out
    assert shell.out.count("better with a probability of") == 1
    assert re.search(r"^  gain on \d+ test rows: \S+ \[\S+, \S+\]$", shell.out, re.MULTILINE)
    assert "not promoted; the champion stays" in shell.err
    shell("registry", "check", *STUDY, "--data", "molecules.csv")
    assert "molecules were left out, since the champion was trained on them" in shell.err


def test_what_overfits_is_not_registered(shell: Shell, lab: Path) -> None:
    assert shell("registry", "candidate", *STUDY, "promotion.max_generalisation_gap=1e-9") == 2
    assert (
        shell(
            "registry",
            "candidate",
            *STUDY,
            "--select",
            "best",
            "promotion.max_generalisation_gap=1e-9",
        )
        == 1
    )
    assert "BLOCKED  generalisation_gap" in shell.out
    assert "not registered; the figures are in MLflow run" in shell.err


def test_what_was_rolled_back_is_not_registered_again_after_a_commit(
    shell: Shell, lab: Path
) -> None:
    from mlflow import MlflowClient

    assert shell("registry", "candidate", *STUDY, WIDE) == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{lab}/mlflow.db")
    client.set_model_version_tag("small", "1", "status", "failed_in_monitoring")
    committed(lab, "notes.txt")
    assert shell("registry", "candidate", *STUDY, WIDE) == 1
    assert "BLOCKED  it has the weights of version 1, which was rolled back" in shell.out
    assert "chemprop-hpo resume --study small --num-samples N" in shell.err
    assert len(client.search_model_versions("name = 'small'")) == 1


@pytest.mark.parametrize(
    ("code", "lenient", "told"),
    [
        (GitState("c" * 40, dirty=True), "false", "the code here has uncommitted changes, and"),
        (GitState("c" * 40), "false", "has uncommitted changes is not known, and promote will"),
        (GitState("c" * 40, dirty=True), "true", None),
        (GitState("c" * 40, dirty=False), "false", None),
        (GitState(), "true", "this folder is in no git repository with a commit"),
    ],
)
def test_code_that_promote_will_block_is_told_before_anything_is_trained(
    shell: Shell,
    lab: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: GitState,
    lenient: str,
    told: str | None,
) -> None:
    monkeypatch.setattr(origin, "present_origin", lambda: code)
    monkeypatch.setattr(run, "train_members", stopped)
    assert shell("registry", "candidate", *STUDY, WIDE, f"promotion.allow_dirty={lenient}") == 1
    assert shell.err.index(told or STOPPED) <= shell.err.index(STOPPED)
    assert ("promote will" in shell.err) == (told is not None)


def test_a_registered_model_without_a_version_is_told_before_anything_is_trained(
    shell: Shell, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "train_members", stopped)
    assert shell("registry", "candidate", *STUDY, WIDE, "promotion.registry=other") == 1
    assert "the registered model 'other' has no version at sqlite:///" in shell.err


def test_an_alias_that_was_moved_by_hand_is_told_before_anything_is_trained(
    shell: Shell, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{lab}/mlflow.db")
    client.create_registered_model("small")
    made = client.create_model_version("small", f"{lab}/model")
    client.set_registered_model_alias("small", "champion", made.version)
    monkeypatch.setattr(run, "train_members", stopped)
    assert shell("registry", "candidate", *STUDY, WIDE) == 1
    assert "it was moved by hand" in shell.err
    assert STOPPED not in shell.err


def test_a_candidate_that_is_stopped_says_that_the_same_command_goes_on(
    shell: Shell, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal came too late")

    monkeypatch.setattr(run, "train_members", interrupted)
    assert shell("registry", "candidate", *STUDY, WIDE) == 143
    assert "nothing is left running; the same command goes on" in shell.err


def committed(lab: Path, name: str) -> None:
    (lab / name).write_text("committed")
    git = ["git", "-C", str(lab), "-c", "user.email=a@b", "-c", "user.name=a"]
    for command in (["add", name], ["commit", "-qm", "more"]):
        subprocess.run([*git, *command], check=True)


def stopped(*_: object, **__: object) -> NoReturn:
    raise SweepFailedError(STOPPED)


def test_a_change_by_hand_is_adopted_or_left_alone(shell: Shell, lab: Path) -> None:
    from mlflow import MlflowClient

    assert shell("registry", "candidate", *STUDY, WIDE) == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{lab}/mlflow.db")
    client.set_registered_model_alias("small", "champion", "1")
    assert shell("registry", "status", *STUDY) == 0
    assert "it was moved by hand; take that over with: chemprop-hpo registry adopt" in shell.err
    assert shell("registry", "adopt", *STUDY, "--reason", "the pilot's") == 0
    assert "'champion' is version 1 by the ledger too" in shell.out
    assert shell("registry", "adopt", *STUDY) == 2
    assert "there is nothing to adopt" in shell.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote"], "there is no registered model 'small' at sqlite:///"),
        (["rollback"], "there is no registered model 'small' at sqlite:///"),
        (["check", "--data", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["check", "--data", "molecules.csv"], "there is no registered model 'small' at sqlite"),
        (["status"], "there are: none; name one with promotion.registry=NAME"),
        (["history"], "or register a model with: chemprop-hpo registry candidate"),
        (["adopt"], "there is no registered model 'small' at sqlite:///"),
        (["candidate", "--ensemble", "nowhere"], "nowhere: there is no such folder"),
        (
            ["candidate", "--ensemble", ".", "--select", "best"],
            "--ensemble trains nothing; keep one",
        ),
        (["promote", "promotion.registry=other"], "there is no registered model 'other' at sqlite"),
        (["promote", "mlflow.tracking_uri=http://127.0.0.1:9"], "promotion.ledger is not set"),
        (["promote", "promotion.ledger=sqlite:///mlflow.db"], "MLflow"),
        (["promote", "promotion.allow_dirt=true"], "did you mean"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    shell: Shell, lab: Path, arguments: list[str], message: str
) -> None:
    assert shell("registry", *arguments, *STUDY) == 2
    assert message in shell.err
    assert shell.err.count("error: ") == 1


def test_a_registered_model_is_looked_at_and_no_ledger_is_left(shell: Shell, lab: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{lab}/mlflow.db")
    client.create_registered_model("small")
    files = {path.name for path in lab.iterdir()}
    typo = "promotion.registry=smal"
    for command in (["status"], ["history"], ["promote"], ["promote", "--dry-run"], ["rollback"]):
        assert shell("registry", *command, *STUDY, typo) == 2
        assert "no registered model 'smal' at " in shell.err
        assert "there are: 'small'; name one with promotion.registry=NAME" in shell.err
    assert shell("registry", "status", *STUDY) == 0
    assert "promotions.db, which is not there yet" in shell.out
    assert "no version yet; register one with" in shell.out
    assert shell("registry", "history", *STUDY) == 0
    assert "promotions.db has no move of 'small'" in shell.out
    assert shell("registry", "promote", "--dry-run", *STUDY) == 2
    assert "there is no candidate of the registered model 'small'; register one" in shell.err
    assert shell("registry", "rollback", *STUDY) == 2
    assert "the registered model 'small' has no champion; make one with" in shell.err
    assert shell("registry", "check", "--data", "molecules.csv", *STUDY) == 2
    assert "has no champion to check" in shell.err
    assert {path.name for path in lab.iterdir()} == files


def test_a_rollback_says_which_version_is_the_champion_again(shell: Shell, lab: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{lab}/mlflow.db")
    assert shell("registry", "candidate", *STUDY, WIDE, "--select", "best") == 0
    assert shell("registry", "promote", *STUDY, WIDE) == 0
    client.create_model_version("small", str(lab))
    client.set_registered_model_alias("small", "champion", "2")
    assert shell("registry", "adopt", *STUDY, "--reason", "the pilot's") == 0
    assert "nothing can be promoted with that: version 2 of 'small' has no record" in shell.err
    assert "take the alias 'champion' away in MLflow, then: chemprop-hpo registry" in shell.err

    assert shell("registry", "rollback", *STUDY, "--reason", "worse on the new series") == 0
    assert shell.out.splitlines() == [
        "version 1 of 'small' is the champion again",
        "version 2 is tagged status=failed_in_monitoring: worse on the new series",
    ]
    found = client.get_registered_model("small").aliases
    assert {name: str(version) for name, version in found.items()} == {"champion": "1"}
    assert shell("registry", "status", *STUDY) == 0
    assert "failed_in_monitoring" in shell.out


def test_nothing_is_registered_without_test_rows(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "train_members", TrainedHere())
    monkeypatch.setattr(writing, "write_report", lambda *_: None)
    split = {"method": "random", "test_fraction": 0.0, "n_folds": 2}
    mlflow = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    stored_study(tmp_path, [0.3], data=ONE_TARGET, split=split, mlflow=mlflow)
    assert shell("registry", "candidate", *STUDY, WIDE) == 1
    assert "test_rmse" in shell.out


def test_help_needs_no_heavy_package() -> None:
    done = in_a_process("registry", "promote", "--help")
    assert done.returncode == 0
    assert done.stderr.split()[-1] == "IMPORTED"
