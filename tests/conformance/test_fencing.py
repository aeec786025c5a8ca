"""Nothing is written to a trial that another process has ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.optuna_storage import OptunaStorage

Write = Callable[[optuna.storages.BaseStorage, int], object]

WRITES: dict[str, Write] = {
    "intermediate value": lambda storage, i: storage.set_trial_intermediate_value(i, 9, 0.1),
    "user attribute": lambda storage, i: storage.set_trial_user_attr(i, "late", 1),
    "system attribute": lambda storage, i: storage.set_trial_system_attr(i, "late", 1),
    "parameter": lambda storage, i: storage.set_trial_param(
        i, "late", 0.5, FloatDistribution(0, 1)
    ),
    "state": lambda storage, i: storage.set_trial_state_values(i, TrialState.COMPLETE, [0.1]),
}

write_each_way = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@pytest.fixture
def trial(study: optuna.Study) -> FrozenTrial:
    """A running trial that the study's cache knows."""
    study.ask().report(0.5, 1)
    return study.get_trials()[0]


@pytest.fixture
def other(db: Database, ready_url: str) -> Iterator[Database]:
    """Another driver's connection to the same database."""
    with open_database(ready_url) as other:
        yield other


@write_each_way
@pytest.mark.parametrize("through_the_cache", [True, False])
def test_a_trial_that_another_ended_refuses_every_write(
    study: optuna.Study,
    trial: FrozenTrial,
    db: Database,
    other: Database,
    write: Write,
    through_the_cache: bool,
) -> None:
    other.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        write(study._storage if through_the_cache else db.storage, trial._trial_id)
    assert _is_as_it_was(other, trial)


@write_each_way
def test_a_trial_is_not_ended_between_the_look_at_its_state_and_the_write(
    trial: FrozenTrial,
    db: Database,
    other: Database,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    look = OptunaStorage.check_trial_is_updatable

    def look_and_wait(storage: OptunaStorage, trial_id: int, state: TrialState) -> None:
        look(storage, trial_id, state)
        if storage is db.storage:
            looked.set()
            assert go_on.wait(20)

    def end() -> None:
        with contextlib.suppress(UpdateFinishedTrialError):  # the write may be the trial's end
            other.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        ended.set()

    monkeypatch.setattr(OptunaStorage, "check_trial_is_updatable", look_and_wait)
    writer = threading.Thread(target=write, args=(db.storage, trial._trial_id))
    ender = threading.Thread(target=end)
    writer.start()
    assert looked.wait(20)
    ender.start()
    ended_between = ended.wait(0.5)
    go_on.set()
    writer.join()
    ender.join()
    assert not ended_between
    assert not _is_as_it_was(other, trial)


def _is_as_it_was(db: Database, trial: FrozenTrial) -> bool:
    """Whether a failed trial holds what it held before."""
    now = db.storage.get_trial(trial._trial_id)
    return now.state == TrialState.FAIL and (
        now.intermediate_values,
        now.user_attrs,
        now.system_attrs,
        now.params,
        now.values,
    ) == (
        trial.intermediate_values,
        trial.user_attrs,
        trial.system_attrs,
        trial.params,
        trial.values,
    )
