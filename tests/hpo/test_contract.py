"""What becomes of each way in which a trial can end, through the real Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial

from chemprop_hpo.configs.errors import DiskFullError
from chemprop_hpo.hpo.sweep import SweepResult, start_sweep
from chemprop_hpo.hpo.trial.cluster import connected
from tests.hpo import scripted
from tests.hpo.scripted import sweep_of


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with connected(None):
        yield
    assert not ray.is_initialized()


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.running = 0
        self.most = 0

    def sweep_started(self, event: Any) -> None:
        self.events.append(event)

    def trial_started(self, event: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.events.append(event)

    def epoch_ended(self, event: Any) -> None:
        self.events.append(event)

    def trial_ended(self, event: Any) -> None:
        self.running -= 1
        self.events.append(event)

    def tick(self) -> None:
        pass

    def sweep_ended(self, event: Any) -> None:
        self.events.append(event)


def run(folder: Path, scripts: list[int], **sections: Any) -> list[FrozenTrial]:
    return run_whole(folder, scripts, **sections)[1]


def run_whole(
    folder: Path, scripts: list[int], observers: tuple[Any, ...] = (), **sections: Any
) -> tuple[SweepResult, list[FrozenTrial]]:
    loaded = sweep_of(folder, scripts, **sections)
    result = start_sweep(loaded, observers=observers, train=scripted.scripted_train)
    return result, trials_in(folder)


def trials_in(folder: Path) -> list[FrozenTrial]:
    study = optuna.load_study(study_name="scripted", storage=f"sqlite:///{folder}/studies.db")
    return study.trials


def test_trained_to_max_t_is_complete_with_the_best_epochs_value(tmp_path: Path) -> None:
    (trial,) = run(tmp_path, [scripted.GOOD])
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


def test_stopped_by_asha_is_pruned_with_its_stopping_step(tmp_path: Path) -> None:
    good, bad = run(tmp_path, [scripted.GOOD, scripted.BAD])
    assert (good.state.name, bad.state.name) == ("COMPLETE", "PRUNED")
    assert sorted(bad.intermediate_values) == [1, 2, 3]
    assert bad.user_attrs["stop_reason"] == "asha"
    assert bad.value == pytest.approx(9.97)


def test_own_early_stopping_is_complete(tmp_path: Path) -> None:
    (trial,) = run(tmp_path, [scripted.EARLY])
    assert trial.state.name == "COMPLETE"
    assert trial.user_attrs["stop_reason"] == "early_stopping"
    assert sorted(trial.intermediate_values) == [1, 2, 3, 4]


def test_the_best_epoch_counts_where_it_is_not_the_last(tmp_path: Path) -> None:
    (trial,) = run(tmp_path, [scripted.DIPS])
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
def test_what_goes_wrong_is_failed_and_the_sweep_goes_on(
    tmp_path: Path, script: int, epochs: int, reason: str, text: str
) -> None:
    wrong, after = run(tmp_path, [script, scripted.GOOD])
    assert wrong.state.name == "FAIL"
    assert wrong.user_attrs["stop_reason"] == reason
    assert text in wrong.user_attrs["error"]
    assert len(wrong.intermediate_values) == epochs
    assert after.state.name == "COMPLETE"


def test_out_of_memory_is_pruned_with_a_violated_constraint(tmp_path: Path) -> None:
    trial, after = run(tmp_path, [scripted.OOM, scripted.GOOD])
    assert trial.state.name == "PRUNED"
    assert trial.user_attrs["stop_reason"] == "oom"
    assert max(trial.constraints.values()) > 0
    assert after.state.name == "COMPLETE"


def test_a_time_budget_fails_what_runs_and_keeps_its_continuation(tmp_path: Path) -> None:
    result, (trial, continuation) = run_whole(
        tmp_path, [scripted.ENDLESS], time_budget_s=3.0, scheduler={"max_t": 900}
    )
    assert result.reason == "time_budget"
    assert trial.state.name == "FAIL"
    assert trial.user_attrs["stop_reason"] == "time_budget"
    assert continuation.state.name == "WAITING"
    assert continuation.user_attrs["continues"] == trial.number
    assert list((tmp_path / "study" / "trials").glob("*/epoch_*.ckpt"))


def test_a_full_disk_ends_the_sweep_with_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="No space left"):
        run(tmp_path, [scripted.GOOD, scripted.DISK_FULL, scripted.GOOD])
    good, stopped, continuation = trials_in(tmp_path)
    assert good.state.name == "COMPLETE"
    assert (stopped.state.name, continuation.state.name) == ("FAIL", "WAITING")


def test_bad_trials_end_early_and_cost_fewer_epochs_than_without_asha(tmp_path: Path) -> None:
    scripts = [scripted.GOOD, *[scripted.BAD] * 3]
    spent = {}
    for kind in ("asha", "none"):
        folder = tmp_path / kind
        folder.mkdir()
        trials = run(folder, scripts, scheduler={"type": kind})
        spent[kind] = sum(t.user_attrs["epochs"] for t in trials)
        bad = [t for t in trials if t.params["depth"] == scripted.BAD]
        assert all(t.user_attrs["epochs"] < 9 for t in bad) == (kind == "asha")
    assert spent == {"asha": 9 + 3 * 3, "none": 4 * 9}


def test_a_slow_teardown_after_an_asha_stop_leaves_no_trial_running(tmp_path: Path) -> None:
    trials = run(tmp_path, [scripted.GOOD, scripted.LINGERS, scripted.GOOD, scripted.GOOD])
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]


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


def test_no_more_than_max_concurrent_trials_run_at_once(tmp_path: Path) -> None:
    recorder = Recorder()
    run_whole(
        tmp_path,
        [scripted.GOOD] * 6,
        observers=(recorder,),
        resources={"max_concurrent_trials": 2},
    )
    assert recorder.most == 2


def test_observers_are_told_in_order(tmp_path: Path) -> None:
    recorder = Recorder()
    run_whole(tmp_path, [scripted.EARLY], observers=(recorder,))
    kinds = [type(event).__name__ for event in recorder.events]
    assert kinds == [
        "SweepStarted",
        "TrialStarted",
        *["EpochEnded"] * 4,
        "TrialEnded",
        "SweepEnded",
    ]


def test_the_budget_is_met_and_a_second_sweep_adds_nothing(tmp_path: Path) -> None:
    run(tmp_path, [scripted.GOOD, scripted.BAD], num_samples=3)
    again = run(tmp_path, [scripted.GOOD, scripted.BAD], num_samples=3)
    assert len(again) == 3


def test_only_the_best_trials_keep_their_weights(tmp_path: Path) -> None:
    run(tmp_path, [scripted.GOOD, scripted.DIPS, scripted.BAD], transfer_learning={"top_k": 1})
    kept = [p.relative_to(tmp_path / "study").as_posix() for p in (tmp_path / "study").rglob("*.*")]
    assert kept == ["trials/00001/best.pt"]
