"""A training in a thread: an epoch at a time, its errors as data, its checkpoints as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.training.train import TrainingSpec
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.training_thread import TrainingThread
from tests.hpo import scripted


def thread(tmp_path: Path, script: int, every_s: float = 1000.0) -> TrainingThread:
    spec = TrainingSpec(
        ModelConfig(depth=script), OptimizationConfig(), 9, 0, "val_loss", "min", "MSE", "cpu", 1
    )
    folder: Any = TrialFolder(tmp_path / "trial")
    return TrainingThread(scripted.scripted_train, spec, None, folder, every_s)  # type: ignore[arg-type]  # scripts need no fold


def test_no_epoch_is_trained_that_nobody_asked_for(tmp_path: Path) -> None:
    training = thread(tmp_path, scripted.GOOD)
    assert [training.next_report().epoch for _ in range(3)] == [1, 2, 3]
    assert training._reports.empty()
    assert training.stop(5, keep=False)


def test_the_last_epoch_says_why_it_is_the_last(tmp_path: Path) -> None:
    training = thread(tmp_path, scripted.EARLY)
    reports = [training.next_report() for _ in range(4)]
    assert [r.stop_reason for r in reports] == [None, None, None, "early_stopping"]
    assert reports[-1].as_result()["done"] is True
    assert (tmp_path / "trial" / "best.pt").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (scripted.FAILS_FIRST, "error"),
        (scripted.NAN_FIRST, "nan"),
        (scripted.SILENT, "error"),
    ],
)
def test_an_error_of_the_training_is_its_last_report(
    tmp_path: Path, script: int, reason: str
) -> None:
    report = thread(tmp_path, script).next_report()
    assert report.stop_reason == reason
    assert report.error


def test_checkpoints_are_kept_two_at_most(tmp_path: Path) -> None:
    training = thread(tmp_path, scripted.GOOD, every_s=0.0)
    folder = TrialFolder(tmp_path / "trial")
    for _ in range(5):
        training.next_report()
    assert [p.name for p in folder.checkpoints()] == ["epoch_00005.ckpt", "epoch_00004.ckpt"]


@pytest.mark.parametrize("keep", [True, False])
def test_a_stopped_training_writes_a_checkpoint_only_if_it_may_go_on(
    tmp_path: Path, keep: bool
) -> None:
    training = thread(tmp_path, scripted.GOOD)
    training.next_report()
    assert training.stop(5, keep=keep)
    assert bool(TrialFolder(tmp_path / "trial").checkpoints()) == keep


def test_a_trial_stopped_in_its_last_epoch_ends_where_it_is_continued(tmp_path: Path) -> None:
    training = thread(tmp_path, scripted.EARLY)
    for _ in range(4):
        training.next_report()  # the fourth never reaches the driver
    training.stop(5, keep=True)
    report = thread(tmp_path, scripted.EARLY).next_report()
    assert (report.epoch, report.stop_reason) == (4, "early_stopping")
    assert (tmp_path / "trial" / "best.pt").exists()


def test_only_the_report_of_a_checkpoint_carries_the_curve_up_to_it(tmp_path: Path) -> None:
    training = thread(tmp_path, scripted.DIPS)
    before = [training.next_report() for _ in range(4)]
    training.stop(5, keep=True)
    continued = thread(tmp_path, scripted.DIPS)
    repeated, following = continued.next_report(), continued.next_report()
    assert repeated.curve == tuple(r.best for r in before)
    assert repeated.best_metrics == {"val_loss": 0.5} == following.best_metrics
    assert [r.curve for r in (*before, following)] == [()] * 5


def test_stopping_before_the_first_epoch_is_no_error(tmp_path: Path) -> None:
    assert thread(tmp_path, scripted.GOOD).stop(5, keep=True)
