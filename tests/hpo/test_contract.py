"""What becomes of each way in which a trial can end, through the real Ray."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial

from chemprop_hpo.configs.errors import DiskFullError
from chemprop_hpo.hpo.drive import SweepResult
from chemprop_hpo.hpo.events import EpochEnded
from chemprop_hpo.hpo.sweep import resume_sweep, start_sweep
from chemprop_hpo.hpo.trial import ending
from chemprop_hpo.hpo.trial.cluster import connected
from tests.hpo import scripted
from tests.hpo.scripted import Recorder, sweep_of


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with connected(None):
        yield
    assert not ray.is_initialized()


def run_whole(
    folder: Path, scripts: list[int], observers: tuple[Any, ...] = (), **sections: Any
) -> tuple[SweepResult, list[FrozenTrial]]:
    loaded = sweep_of(folder, scripts, **sections)
    result = start_sweep(loaded, observers=observers, train=scripted.scripted_train)
    return result, trials_in(folder)


def trials_in(folder: Path) -> list[FrozenTrial]:
    study = optuna.load_study(study_name="scripted", storage=f"sqlite:///{folder}/studies.db")
    return study.trials


ORDER = [
    scripted.GOOD,
    scripted.BAD,
    scripted.EARLY,
    scripted.FAILS_FIRST,
    scripted.FAILS_LATER,
    scripted.NAN_FIRST,
    scripted.NAN_LATER,
    scripted.SILENT,
    scripted.OOM,
    scripted.LINGERS,
    scripted.DIPS,
]


@dataclass(frozen=True)
class Outcome:
    """One sweep in which every script ran once, on one worker, under ASHA."""

    trials: dict[int, FrozenTrial]
    result: SweepResult
    folder: Path
    events: list[Any]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder, recorder = tmp_path_factory.mktemp("contract"), Recorder()
    result, trials = run_whole(folder, ORDER, (recorder,), transfer_learning={"top_k": 1})
    return Outcome({t.params["depth"]: t for t in trials}, result, folder, recorder.events)


def test_trained_to_max_t_is_complete_with_the_best_epochs_value(outcome: Outcome) -> None:
    trial = outcome.trials[scripted.GOOD]
    assert trial.state.name == "COMPLETE"
    assert trial.value == pytest.approx(0.91)
    assert sorted(trial.intermediate_values) == list(range(1, 10))
    assert trial.user_attrs["stop_reason"] == "max_t"
    assert trial.user_attrs["metrics"] == {
        "val_loss": pytest.approx(0.91),
        "train_loss": pytest.approx(0.455),
    }
    assert {"driver", "ray_trial_id", "seed", "head", "bracket", "slot"} <= set(trial.user_attrs)
    assert trial.user_attrs["best_epoch"] == trial.user_attrs["epochs"] == 9


def test_stopped_by_asha_is_pruned_with_its_stopping_step(outcome: Outcome) -> None:
    trial = outcome.trials[scripted.BAD]
    assert trial.state.name == "PRUNED"
    assert sorted(trial.intermediate_values) == [1, 2, 3]
    assert trial.user_attrs["stop_reason"] == "asha"
    assert trial.value == pytest.approx(9.97)


def test_own_early_stopping_is_complete(outcome: Outcome) -> None:
    trial = outcome.trials[scripted.EARLY]
    assert trial.state.name == "COMPLETE"
    assert trial.user_attrs["stop_reason"] == "early_stopping"
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4]


def test_the_best_epoch_counts_where_it_is_not_the_last(outcome: Outcome) -> None:
    trial = outcome.trials[scripted.DIPS]
    assert trial.value == 0.5
    assert trial.user_attrs["best_epoch"] == 2
    assert [trial.intermediate_values[e] for e in (1, 2, 3, 9)] == [0.9, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("script", "epochs", "reason", "text"),
    [
        (scripted.FAILS_FIRST, 0, "error", "the script says so"),
        (scripted.FAILS_LATER, 2, "error", "the script says so"),
        (scripted.NAN_FIRST, 0, "nan", "1"),
        (scripted.NAN_LATER, 2, "nan", "3"),
        (scripted.SILENT, 0, "error", "without reporting"),
    ],
)
def test_what_goes_wrong_is_failed_with_its_reason(
    outcome: Outcome, script: int, epochs: int, reason: str, text: str
) -> None:
    trial = outcome.trials[script]
    assert trial.state.name == "FAIL"
    assert trial.user_attrs["stop_reason"] == reason
    assert text in trial.user_attrs["error"]
    assert len(trial.intermediate_values) == epochs


def test_out_of_memory_is_pruned_with_a_violated_constraint(outcome: Outcome) -> None:
    trial = outcome.trials[scripted.OOM]
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs["stop_reason"] == "oom"
    assert max(trial.constraints.values()) > 0


def test_a_slow_teardown_after_an_asha_stop_costs_no_later_trial(outcome: Outcome) -> None:
    lingering, after = outcome.trials[scripted.LINGERS], outcome.trials[scripted.DIPS]
    assert lingering.state.name == "PRUNED"
    assert lingering.user_attrs["stop_reason"] == "asha"
    assert after.state.name == "COMPLETE"
    assert after.number > lingering.number


def test_every_trial_ends_and_the_sweep_counts_them(outcome: Outcome) -> None:
    assert outcome.result.reason == "finished"
    assert dict(outcome.result.counts) == {
        "COMPLETE": 3,
        "PRUNED": 3,
        "FAIL": 5,
        "RUNNING": 0,
        "WAITING": 0,
    }


def test_only_the_best_trials_keep_their_weights(outcome: Outcome) -> None:
    study = outcome.folder / "study"
    kept = [p.relative_to(study).as_posix() for p in study.rglob("*.*") if p.suffix != ".json"]
    assert kept == [f"trials/{outcome.trials[scripted.DIPS].number:05d}/best.pt"]


def test_observers_are_told_of_each_trial_in_order(outcome: Outcome) -> None:
    kinds = [type(event).__name__ for event in outcome.events]
    assert (kinds[0], kinds[-1]) == ("SweepStarted", "SweepEnded")
    number = outcome.trials[scripted.EARLY].number
    about = [e for e in outcome.events if getattr(e, "number", None) == number]
    names = [type(event).__name__ for event in about]
    assert names == ["TrialStarted", *["EpochEnded"] * 4, "TrialEnded"]


def test_a_time_budget_fails_what_runs_and_its_continuation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()

    def clock() -> float:  # the budget is spent once an epoch was seen
        return 1e9 if any(isinstance(e, EpochEnded) for e in recorder.events) else 0.0

    monkeypatch.setattr(ending, "time", SimpleNamespace(monotonic=clock))
    result, (trial, continuation) = run_whole(
        tmp_path, [scripted.ENDLESS], (recorder,), time_budget_s=100.0, scheduler={"max_t": 900}
    )
    assert result.reason == "time_budget"
    assert trial.state.name == "FAIL"
    assert trial.user_attrs["stop_reason"] == "time_budget"
    assert continuation.state.name == "WAITING"
    assert continuation.user_attrs["continues"] == trial.number
    assert list((tmp_path / "study" / "trials").glob("*/epoch_*.ckpt"))

    # Resumed with a `max_t` that its checkpoint is beyond, it has reached its end.
    lower = ["scheduler.max_t=1", "scheduler.grace_period=1", "time_budget_s=null"]
    url = f"sqlite:///{tmp_path}/studies.db"
    resume_sweep("scripted", url, overrides=lower, train=scripted.scripted_train)
    assert [t.state.name for t in trials_in(tmp_path)] == ["FAIL", "COMPLETE"]


class Breaks(Recorder):
    """An observer that fails whenever a trial ends."""

    def trial_ended(self, event: Any) -> None:
        raise RuntimeError("an observer is broken")


def test_an_observer_that_raises_changes_nothing(tmp_path: Path) -> None:
    result, (trial,) = run_whole(tmp_path, [scripted.EARLY], (Breaks(),))
    assert trial.state.name == "COMPLETE"
    assert result.reason == "finished"


def test_what_the_driver_has_loaded_is_spared_from_collection_while_trials_run(
    tmp_path: Path,
) -> None:
    spared: list[int] = []

    class Looks(Recorder):
        def epoch_ended(self, event: Any) -> None:
            spared.append(gc.get_freeze_count())

    run_whole(tmp_path, [scripted.EARLY], (Looks(),))
    assert min(spared) > 100_000
    assert gc.get_freeze_count() < 10_000  # Python itself sets some hundred aside


def test_a_full_disk_ends_the_sweep_with_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="No space left"):
        run_whole(tmp_path, [scripted.GOOD, scripted.DISK_FULL, scripted.GOOD])
    good, stopped, continuation = trials_in(tmp_path)
    assert good.state.name == "COMPLETE"
    assert (stopped.state.name, continuation.state.name) == ("FAIL", "WAITING")


def test_without_asha_bad_trials_cost_their_whole_budget(tmp_path: Path, outcome: Outcome) -> None:
    order = [scripted.GOOD, scripted.BAD, scripted.DIPS]
    _, trials = run_whole(tmp_path, order, scheduler={"type": "none"})
    without = sum(t.user_attrs["epochs"] for t in trials)
    pruned = sum(outcome.trials[script].user_attrs["epochs"] for script in order)
    assert (without, pruned) == (9 + 9 + 9, 9 + 3 + 9)


def test_a_worker_that_dies_costs_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEMPROP_HPO_TEST_MARK", str(tmp_path / "died"))
    loaded = sweep_of(tmp_path, [scripted.GOOD])
    start_sweep(loaded, train=_with_mark(str(tmp_path / "died")))
    (trial,) = trials_in(tmp_path)
    assert (tmp_path / "died").exists()
    assert trial.state.name == "COMPLETE"
    assert sorted(trial.intermediate_values) == list(range(1, 10))


def _with_mark(mark: str) -> Any:
    def train(*args: Any, **more: Any) -> Any:
        import os

        os.environ["CHEMPROP_HPO_TEST_MARK"] = mark
        return scripted.dies_once_train(*args, **more)

    return train


def test_no_more_than_max_concurrent_trials_run_at_once_nor_after_the_budget(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    scripts = [scripted.GOOD] * 5
    run_whole(tmp_path, scripts, (recorder,), resources={"max_concurrent_trials": 2})
    assert recorder.most == 2
    _, again = run_whole(tmp_path, scripts, resources={"max_concurrent_trials": 2})
    assert len(again) == 5
