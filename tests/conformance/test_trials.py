"""Trials as they come back."""

from __future__ import annotations

import optuna

from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import Driver, continue_trial
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.trials import best_trials, counts, epochs_trained, trial_records
from tests.conformance.made import begin, suggest
from tests.conformance.processes import in_processes


def test_trials_come_back_with_all_that_was_noted(db: Database, study: optuna.Study) -> None:
    trial = study.ask()
    suggest(trial)
    trial.set_user_attr("metrics", {"val_rmse/日": 0.5})
    for key, value in {"seed": 11, "epochs": 4, "best_epoch": 3, "head": "branched"}.items():
        trial.set_user_attr(key, value)
    study.tell(trial, 0.5)
    (record,) = trial_records(open_study(db, "esol"))
    assert (record.number, record.state, record.value) == (0, "COMPLETE", 0.5)
    assert record.params == trial.params
    assert (record.seed, record.epochs, record.best_epoch, record.retry) == (11, 4, 3, 0)
    assert record.metrics == {"val_rmse/日": 0.5}
    assert record.started is not None
    assert record.ended is not None
    assert abs(record.ended.timestamp() - db.now()) < 30


def test_one_waiting_trial_goes_to_one_process_only(
    db: Database, study: optuna.Study, ready_url: str
) -> None:
    for _ in range(12):
        study.enqueue_trial({"max_lr": 1e-3})
    db.close()
    found = in_processes(4, _ask_three, ready_url)
    assert sorted(number for numbers in found for number in numbers) == list(range(12))


def test_epochs_of_a_chain_count_once(db: Database, study: optuna.Study, driver: Driver) -> None:
    begin(study, driver).set_user_attr("epochs", 5)
    continue_trial(db, study, study.trials[0], driver.id, "interrupted")
    new = study.ask()
    new.set_user_attr("first_epoch", 6)
    new.set_user_attr("epochs", 9)
    assert epochs_trained(study) == 9
    assert counts(study) == {
        "RUNNING": 1,
        "COMPLETE": 0,
        "PRUNED": 0,
        "FAIL": 1,
        "WAITING": 0,
    }


def test_best_trials_survive_the_database(db: Database, study: optuna.Study) -> None:
    for value in (0.9, 0.5, 0.7):
        study.add_trial(optuna.trial.create_trial(value=value))
    assert [t.number for t in best_trials(open_study(db, "esol"), 2)] == [1, 2]


def _ask_three(url: str) -> list[int]:
    with open_database(url) as db:
        study = open_study(db, "esol")
        return [study.ask().number for _ in range(3)]
