"""``status``: where a study stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import update

from chemprop_hpo.storage.continuations import continue_trial
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.drivers import Driver
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.tables import drivers
from tests.hpo.commands.made_study import make_study
from tests.hpo.commands.shell import Shell


def test_it_counts_by_state_and_reason(study: str, shell: Shell) -> None:
    assert shell("status") == 0
    lines = dict(line.split(maxsplit=1) for line in shell.out.splitlines())
    assert lines["study"] == "esol in sqlite:///studies.db"
    assert lines["metric"] == "val_loss (lower is better)"
    # The interrupted trial used nothing of the budget.
    assert lines["trials"] == (
        "5 of 12 done: 3 complete (3 max_t), 1 stopped early, 1 failed (1 nan), 1 continued (1 interrupted)"
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
    (driver,) = [line for line in shell.out.splitlines() if line.startswith("driver")]
    assert driver.startswith(f"driver    process {os.getpid()} on ")
    assert "for less than a minute, last beat " in driver


def test_a_dead_driver_leaves_orphans_that_resume_takes_up(study: str, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        opened = open_study(database, study)
        driver = Driver.register(database, opened)
        trial = opened.ask()
        trial.set_user_attr("driver", driver.id)
        trial.report(0.6, 12)
        end_process(database, driver)
    assert shell("status", "--study", study) == 0
    lines = shell.out.splitlines()
    assert "orphan    trial 6 has lost its driver at epoch 12; resume takes it up" in lines
    assert not any(line.startswith("running") for line in lines)
    (nobody, dead) = [line for line in lines if line.startswith("driver")]
    assert nobody == "driver    none at work"
    assert dead.endswith("it had trial 6")


def test_it_shows_who_goes_on_with_whom_and_what_waits(study: str, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        opened = open_study(database, study)
        driver = Driver.register(database, opened)
        for last_epoch in (3, 8):
            trial = opened.ask()
            trial.suggest_int("depth", 2, 6)
            trial.set_user_attr("driver", driver.id)
            trial.report(0.6, last_epoch)
            frozen = opened.get_trials(deepcopy=False)[trial.number]
            assert continue_trial(database, opened, frozen, driver.id, "orphaned") is not None
        driver.leave()
    assert shell("status", "--study", study) == 0
    lines = shell.out.splitlines()
    assert "waiting   trial 8 goes on with trial 7, orphaned at epoch 8" in lines
    assert "chain     6 -> 7 -> 8 (orphaned twice)" in lines
    assert "driver    before: 1 has left" in lines


def test_it_shows_what_was_changed_in_the_study(study: str, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        changed = {"at": 0.0, "what": ["scheduler.max_t: 30 before, 20 now"]}
        open_study(database, study).set_user_attr("changes", [changed])
    assert shell("status", "--study", study) == 0
    (line,) = [line for line in shell.out.splitlines() if line.startswith("changed")]
    assert line.endswith("scheduler.max_t: 30 before, 20 now")


def end_process(database: Database, driver: Driver) -> None:
    """Let a driver look like one whose process has ended."""
    gone = update(drivers).where(drivers.c.id == driver.id).values(pid_started=-1.0)
    with database.engine.begin() as connection:
        connection.execute(gone)


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
