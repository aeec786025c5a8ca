from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.storage.trials import (
    best_trials,
    counts,
    epochs_trained,
    folders_in_use,
    trial_records,
)


def study_of(*trials: optuna.trial.FrozenTrial, direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction, study_name="esol")  # type: ignore[arg-type]  # a plain string in a test
    study.add_trials(trials)
    return study


def trial(value: float, x: float = 0.5, **attributes: object) -> optuna.trial.FrozenTrial:
    return create_trial(
        value=value,
        params={"x": x},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs=dict(attributes),
    )


def test_the_smallest_value_is_best_when_minimised() -> None:
    study = study_of(trial(0.3), trial(0.1), trial(0.2))
    assert [t.number for t in best_trials(study, 3)] == [1, 2, 0]


def test_the_largest_value_is_best_when_maximised() -> None:
    study = study_of(trial(0.3), trial(0.1), trial(0.4), direction="maximize")
    assert [t.number for t in best_trials(study, 2)] == [2, 0]


def test_of_equal_values_the_earlier_trial_comes_first() -> None:
    study = study_of(trial(0.3), trial(0.1), trial(0.1))
    assert [t.number for t in best_trials(study, 2)] == [1, 2]


def test_only_trials_that_were_trained_to_their_end_are_ranked() -> None:
    pruned = create_trial(state=TrialState.PRUNED, value=0.01)
    failed = create_trial(state=TrialState.FAIL)
    study = study_of(pruned, trial(0.3), failed, trial(0.2))
    assert [t.number for t in best_trials(study, 2)] == [3, 1]


def test_distinct_counts_equal_hyperparameters_once() -> None:
    study = study_of(trial(0.1, x=0.2), trial(0.2, x=0.2), trial(0.3, x=0.4))
    assert [t.number for t in best_trials(study, 2, distinct=True)] == [0, 2]


@pytest.mark.parametrize(
    ("distinct", "says"),
    [
        (False, "has 2 complete trials, fewer than the 3 asked for"),
        (True, "has 1 complete trial with different hyperparameters, fewer than the 3"),
    ],
)
def test_too_few_trials_are_counted_aloud(distinct: bool, says: str) -> None:
    study = study_of(trial(0.1), trial(0.2))
    with pytest.raises(UsageError, match=says):
        best_trials(study, 3, distinct)


def test_fewer_than_one_trial_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match="at least 1, not 0"):
        best_trials(study_of(trial(0.1)), 0)


def test_counts_name_every_state() -> None:
    study = study_of(trial(0.1), create_trial(state=TrialState.FAIL))
    study.ask()
    assert counts(study) == {"RUNNING": 1, "COMPLETE": 1, "PRUNED": 0, "FAIL": 1, "WAITING": 0}


def test_epochs_are_those_that_each_link_trained() -> None:
    study = study_of(
        trial(0.1, epochs=27),
        trial(0.2, epochs=9, first_epoch=6),
        trial(0.2, epochs=5, first_epoch=6),  # killed before it trained an epoch of its own
    )
    assert epochs_trained(study) == 27 + 4


def test_epochs_of_a_running_trial_are_its_last_report() -> None:
    study = study_of()
    running = study.ask()
    for epoch in (1, 2, 3):
        running.report(1.0 / epoch, epoch)
    assert epochs_trained(study) == 3
    assert trial_records(study)[0].epochs == 3


def test_a_record_keeps_the_chain_and_the_error() -> None:
    study = study_of(
        create_trial(
            state=TrialState.FAIL,
            user_attrs={
                "continues": 3,
                "continued_by": 9,
                "retry": 2,
                "error": "NaN",
                "bracket": 1,
            },
        )
    )
    (record,) = trial_records(study)
    assert (record.continues, record.continued_by, record.retry) == (3, 9, 2)
    assert (record.error, record.bracket, record.value) == ("NaN", 1, None)
    assert record.ended is not None
    assert record.ended.utcoffset() is not None


def test_checkpoints_of_the_best_and_of_the_unfinished_are_in_use() -> None:
    study = study_of(
        trial(0.3, checkpoint="trials/0"),
        trial(0.1, checkpoint="trials/1"),
        create_trial(state=TrialState.FAIL, user_attrs={"checkpoint": "trials/2"}),
    )
    study.ask().set_user_attr("checkpoint", "trials/3")
    study.enqueue_trial({}, {"checkpoint": "trials/4"})
    study.enqueue_trial({})
    used = folders_in_use(study, 1)
    assert used.best == {"trials/1"}
    # The last one has not said where it is; it will be where its number says.
    assert used.unfinished == {"trials/3", "trials/4", "trials/00005"}


def test_a_trial_that_ends_meanwhile_keeps_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    running, look = study.ask(), study.get_trials

    def look_before_it_ends(**how: Any) -> list[optuna.trial.FrozenTrial]:
        found = look(**how)
        if running.number not in [t.number for t in look(states=(TrialState.COMPLETE,))]:
            study.tell(running, 0.1)
        return found

    monkeypatch.setattr(study, "get_trials", look_before_it_ends)
    used = folders_in_use(study, 1)
    assert used.best | used.unfinished == {"trials/00000"}
