"""A worker: what it is given, and what it does between two trials."""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.hpo.search.reports import REPORT, TrialReport
from chemprop_hpo.hpo.trial import trainable
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.trainable import TrialJob, TrialTrainable
from tests.hpo import scripted

FOLD: Any = None  # scripts need none


def job_of(folder: Path, train: Any = scripted.scripted_train, **sections: Any) -> TrialJob:
    loaded = scripted.sweep_of(
        folder, [scripted.GOOD], study={"storage": f"sqlite:///{folder}/secret.db"}, **sections
    )
    return TrialJob.of(loaded.config, folder / "study", train)


def trial(number: int, script: int, **more: Any) -> dict[str, Any]:
    told = {"number": number, "params": {"depth": script}, "seed": 1, "reached": 0}
    return told | {"alone": False, "folder": f"trials/{number:05d}"} | more


class Worker(TrialTrainable):
    """A worker in this process, without Ray's own part."""

    def __init__(self, job: TrialJob, first: dict[str, Any]) -> None:
        self.setup(first, job, FOLD)

    def report(self) -> TrialReport:
        report: TrialReport = self.step()[REPORT]
        return report


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Undo that a worker spares what is there from collection."""
    yield
    gc.unfreeze()


def test_a_job_names_no_database(tmp_path: Path) -> None:
    assert b"secret.db" not in pickle.dumps(job_of(tmp_path))


def test_a_worker_is_told_how_far_the_trial_had_come(tmp_path: Path) -> None:
    worker = Worker(job_of(tmp_path), trial(0, scripted.GOOD, reached=5))
    report = worker.report()
    assert (report.epoch, report.resumed_from) == (1, 0)
    assert "the study knows 5 epochs" in report.notes[0]
    worker.cleanup()


def test_a_worker_takes_one_trial_after_the_other(tmp_path: Path) -> None:
    worker = Worker(job_of(tmp_path), trial(0, scripted.GOOD))
    assert [worker.report().epoch for _ in range(2)] == [1, 2]
    assert worker.reset_config(trial(1, scripted.BAD))
    first = worker.report()
    assert (first.epoch, first.best) == (1, 9.99)
    assert TrialFolder(tmp_path / "study/trials/00000").checkpoints() == []
    worker.cleanup()


def test_a_trial_that_runs_by_itself_waits_for_its_gpu_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[None] = []
    monkeypatch.setattr(trainable, "await_free_gpu", lambda: waited.append(None))
    worker = Worker(job_of(tmp_path), trial(0, scripted.GOOD))
    worker.report()
    assert not waited
    worker.reset_config(trial(1, scripted.GOOD, alone=True))
    assert [worker.report().epoch for _ in range(3)] == [1, 2, 3]
    assert len(waited) == 1
    worker.cleanup()


def test_a_worker_that_has_to_go_leaves_a_checkpoint(tmp_path: Path) -> None:
    worker = Worker(job_of(tmp_path), trial(0, scripted.GOOD))
    for _ in range(3):
        worker.report()
    worker.cleanup()
    names = [p.name for p in TrialFolder(tmp_path / "study/trials/00000").checkpoints()]
    assert names == ["epoch_00003.ckpt"]


def test_a_worker_ends_with_a_training_that_does_not_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*args: Any, **kwargs: Any) -> Any:
        try:
            return scripted.scripted_train(*args, **kwargs)
        finally:
            time.sleep(1)

    def end(code: int) -> None:
        raise SystemExit(code)

    worker = Worker(job_of(tmp_path, stuck), trial(0, scripted.GOOD))
    worker.report()
    assert worker.reset_config(trial(1, scripted.GOOD))
    monkeypatch.setattr(trainable, "STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit, match="1"):
        worker.step()
