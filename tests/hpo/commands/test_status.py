"""``status``: where a study stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.drivers import Driver
from chemprop_hpo.storage.studies import open_study
from tests.hpo.commands.made_study import make_study
from tests.hpo.commands.shell import Shell


def test_it_counts_by_state_and_reason(study: str, shell: Shell) -> None:
    assert shell("status") == 0
    lines = dict(line.split(maxsplit=1) for line in shell.out.splitlines())
    assert lines["study"] == "esol in sqlite:///studies.db"
    assert lines["metric"] == "val_loss (lower is better)"
    # The interrupted trial used nothing of the budget.
    assert lines["trials"] == (
        "5 of 12 done: 3 complete (3 max_t), 1 stopped early, 2 failed (1 nan, 1 interrupted)"
    )
    assert lines["epochs"] == "101 trained"
    assert lines["best"] == "val_loss 0.3 in trial 1 (branched, epoch 24)"
    assert lines["driver"] == "none at work"
    assert lines["activity"].endswith("ago")
    assert lines["resume"] == "chemprop-hpo resume --study esol"


def test_it_shows_running_trials_and_who_runs_them(study: str, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        opened = open_study(database, study)
        Driver.register(database, opened)
        trial = opened.ask()
        trial.report(0.6, 1)
        trial.report(0.45, 2)
    assert shell("status", "--study", study) == 0
    assert "running   trial 6: epoch 2 of 30, best 0.45" in shell.out
    assert f"driver    process {os.getpid()} on " in shell.out


def test_another_storage_stands_in_the_resume_command(sweep_file: Path, shell: Shell) -> None:
    make_study("my study", sweep_file, "sqlite:///other.db")
    assert shell("status", "--storage", "sqlite:///other.db") == 0
    expected = "chemprop-hpo resume --study 'my study' --storage sqlite:///other.db"
    assert expected in shell.out


def test_the_environment_names_the_storage(
    sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study("esol", sweep_file, "sqlite:///other.db")
    monkeypatch.setenv("CHEMPROP_HPO_STORAGE", "sqlite:///other.db")
    assert shell("status") == 0
    assert shell.out.endswith("chemprop-hpo resume --study esol\n")
