"""A training thread that finds checkpoints: which it takes, what it says, what it leaves alone."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.models.model import load_model
from chemprop_hpo.hpo.chemistry.training.train import CheckpointError, train
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial import memory
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.training_thread import TrainingThread
from tests.hpo.trainings import make_fold, make_spec, same

LAST = 6


@pytest.fixture(scope="module", autouse=True)
def spared() -> Iterator[None]:
    """Do as a worker does before its first trial; else each end of a training takes long."""
    memory.spare_from_collection()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def fold() -> Fold:
    return make_fold()


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path / "trial")


@pytest.fixture
def start(fold: Fold, folder: TrialFolder) -> Iterator[Callable[..., TrainingThread]]:
    """Give the folder's trial a worker that keeps a checkpoint of every epoch."""
    workers: list[TrainingThread] = []

    def start(
        *, reached: int = 0, train: Any = train, every_s: float = 0.0, **changes: Any
    ) -> TrainingThread:
        spec = make_spec(**{"max_epochs": LAST} | changes)
        workers.append(TrainingThread(train, spec, fold, folder, every_s, reached))
        return workers[-1]

    yield start
    for worker in workers:
        assert worker.stop(30, keep=False)


@pytest.fixture
def cut_after_four(start: Callable[..., TrainingThread]) -> None:
    """Leave the checkpoints of epochs 4 and 3 in the folder."""
    worker = start()
    for _ in range(4):
        worker.next_report()
    assert worker.stop(30, keep=False)


def run(worker: TrainingThread) -> list[TrialReport]:
    reports = [worker.next_report()]
    while reports[-1].stop_reason is None:
        reports.append(worker.next_report())
    assert worker.stop(30, keep=False)
    return reports


def epochs(reports: list[TrialReport]) -> list[int]:
    return [report.epoch for report in reports]


def flip_a_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


# ----------------------------------------------------------------------------- how it began


def test_a_fresh_trial_has_nothing_to_say(start: Callable[..., TrainingThread]) -> None:
    reports = run(start())
    assert epochs(reports) == [1, 2, 3, 4, 5, 6]
    assert {(r.notes, r.resumed_from, r.curve) for r in reports} == {((), None, ())}


@pytest.mark.usefixtures("cut_after_four")
def test_a_continued_trial_first_reports_its_checkpoints_own_epoch(
    start: Callable[..., TrainingThread],
) -> None:
    reports = run(start(reached=2))
    assert epochs(reports) == [4, 5, 6]
    assert [r.resumed_from for r in reports] == [4, None, None]
    assert [len(r.curve) for r in reports] == [4, 0, 0]
    assert [r.notes for r in reports] == [(), (), ()]


def test_a_trial_whose_checkpoints_are_gone_starts_from_scratch_and_says_so(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    first = start(reached=4).next_report()
    assert (first.epoch, first.resumed_from) == (1, 0)
    (note,) = first.notes
    assert note == (
        f"trained from scratch: there is no checkpoint in {folder.path}; the study knows 4 epochs"
    )


# ----------------------------------------------------------------------------- damage


@pytest.mark.usefixtures("cut_after_four")
@pytest.mark.parametrize("position", [40, -1000], ids=["header", "state"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    start: Callable[..., TrainingThread], folder: TrialFolder, position: int
) -> None:
    newest = folder.checkpoints()[0]
    flip_a_bit(newest, position)
    damaged = newest.read_bytes()
    worker = start(reached=4)
    first = worker.next_report()
    assert (first.epoch, first.resumed_from) == (3, 3)
    assert "epoch_00004.ckpt: the checkpoint is damaged" in first.notes[0]
    assert first.notes[1:] == ("goes on from its checkpoint of epoch 3",)
    assert newest.read_bytes() == damaged
    assert epochs(run(worker)) == [4, 5, 6]
    assert newest not in folder.checkpoints()


@pytest.mark.usefixtures("cut_after_four")
def test_a_half_written_checkpoint_gives_way_to_the_one_before_it(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    newest = folder.checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    first = start().next_report()
    assert (first.epoch, first.resumed_from) == (3, 3)
    assert "bytes where" in first.notes[0]


@pytest.mark.usefixtures("cut_after_four")
@pytest.mark.parametrize(("reached", "known"), [(4, "; the study knows 4 epochs"), (0, "")])
def test_where_all_checkpoints_are_damaged_it_starts_from_scratch_and_says_so(
    start: Callable[..., TrainingThread], folder: TrialFolder, reached: int, known: str
) -> None:
    for path in folder.checkpoints():
        flip_a_bit(path, -1000)
    reports = run(start(reached=reached))
    assert epochs(reports) == [1, 2, 3, 4, 5, 6]
    assert reports[0].resumed_from == 0
    assert [note.split(": ")[1] for note in reports[0].notes] == [
        "the checkpoint is damaged (its checksum differs); passed over",
        "the checkpoint is damaged (its checksum differs); passed over",
        f"none of its checkpoints can be used{known}",
    ]


@pytest.mark.parametrize("damage", ["newest", "all"])
def test_a_trial_ends_the_same_whatever_was_damaged(
    start: Callable[..., TrainingThread], folder: TrialFolder, damage: str
) -> None:
    straight = run(start())
    expected = load_model(folder.best_model).state_dict()
    folder.clear()
    worker = start()
    for _ in range(5):
        worker.next_report()
    worker.stop(30, keep=False)
    for path in folder.checkpoints()[: 1 if damage == "newest" else None]:
        flip_a_bit(path, -1000)
    reports = run(start(reached=5))
    assert reports[-1].final == straight[-1].final
    assert reports[-1].best_metrics == straight[-1].best_metrics
    assert same(load_model(folder.best_model).state_dict(), expected)


@pytest.mark.usefixtures("cut_after_four")
def test_what_was_passed_over_is_said_even_if_the_training_fails_before_its_first_epoch(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    def fails(*_: Any, resume_from: Path | None = None) -> None:
        if resume_from is not None:
            raise CheckpointError(f"{resume_from}: damaged")
        raise ValueError("and now this")

    report = start(train=fails).next_report()
    assert (report.stop_reason, report.resumed_from, len(report.notes)) == ("error", 0, 3)


# ----------------------------------------------------------------------------- another training


@pytest.mark.usefixtures("cut_after_four")
def test_a_checkpoint_of_another_training_is_named_and_left_to_those_who_can_use_it(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    before = {path: path.read_bytes() for path in folder.checkpoints()}
    other = start(reached=4, model={"dropout": 0.2}, every_s=1000.0)
    first = other.next_report()
    assert (first.epoch, first.resumed_from) == (1, 0)
    assert "of another training (model.dropout differ); passed over" in first.notes[0]
    assert other.stop(30, keep=True)
    assert {path: path.read_bytes() for path in before} == before
    assert start().next_report().epoch == 4


# ----------------------------------------------------------------------------- another worker


@pytest.mark.usefixtures("cut_after_four")
def test_a_checkpoint_that_another_worker_removes_meanwhile_gives_way_to_a_newer_one(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    other = start()

    def meanwhile(*args: Any, resume_from: Path | None = None) -> Any:
        if resume_from == folder.path / "epoch_00004.ckpt":
            other.next_report()
            for _ in range(2):  # writes epochs 5 and 6, removes 3 and 4
                other.next_report()
            assert other.stop(30, keep=False)
        return train(*args, resume_from=resume_from)

    report = start(reached=4, train=meanwhile).next_report()
    assert [p.name for p in folder.checkpoints()] == ["epoch_00006.ckpt", "epoch_00005.ckpt"]
    assert (report.epoch, report.resumed_from, report.notes) == (6, 6, ())


# ----------------------------------------------------------------------------- the last epoch


def test_a_trial_cut_in_its_last_epoch_ends_where_it_is_continued(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    last = run(start())[-1]
    weights = folder.best_model.read_bytes()
    folder.best_model.unlink()
    (again,) = run(start(reached=5))
    assert (again.epoch, again.stop_reason, again.final) == (LAST, "max_t", last.final)
    assert again.resumed_from == LAST
    assert folder.best_model.read_bytes() == weights


@pytest.mark.usefixtures("cut_after_four")
def test_a_trial_stopped_before_it_went_on_keeps_its_checkpoints(
    start: Callable[..., TrainingThread], folder: TrialFolder
) -> None:
    before = {path: path.read_bytes() for path in folder.checkpoints()}
    worker = start()
    worker.next_report()
    assert worker.stop(30, keep=True)
    assert {path: path.read_bytes() for path in folder.checkpoints()} == before


# ----------------------------------------------------------------------------- no room


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_ends_a_trial_that_goes_on_once_there_is_room(
    start: Callable[..., TrainingThread],
    folder: TrialFolder,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    worker = start()
    for _ in range(3):
        worker.next_report()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        report = worker.next_report()
    assert report.stop_reason == "unwritable"
    assert report.error is not None
    assert os.strerror(number) in report.error
    assert epochs(run(start(reached=3))) == [3, 4, 5, 6]


# ----------------------------------------------------------------------------- memory


@pytest.mark.usefixtures("cut_after_four")
def test_too_little_memory_to_read_a_checkpoint_is_no_damage(
    start: Callable[..., TrainingThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", load)
        report = start(reached=4).next_report()
    assert (report.stop_reason, report.epoch) == ("oom", 0)
    assert start().next_report().epoch == 4


def test_an_error_without_a_text_is_reported_by_its_name(
    start: Callable[..., TrainingThread],
) -> None:
    def fails(*_: Any) -> None:
        raise MemoryError

    report = start(train=fails).next_report()
    assert (report.stop_reason, report.error) == ("oom", "MemoryError")


def stand_in_gpu(
    monkeypatch: pytest.MonkeyPatch, empty_cache: Callable[[], None], initialized: bool = True
) -> None:
    """Stand in for a GPU where memory is released; the training itself sees none."""
    cuda = SimpleNamespace(is_initialized=lambda: initialized, empty_cache=empty_cache)
    monkeypatch.setattr(memory, "torch", SimpleNamespace(cuda=cuda))


@pytest.mark.parametrize("end", ["out of memory", "stopped", "finished"])
def test_nothing_of_a_training_that_has_ended_stays_in_memory(
    start: Callable[..., TrainingThread], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    models: list[weakref.ref[Any]] = []
    alive_when_emptied: list[bool] = []

    def watched(spec: Any, fold: Any, on_epoch: Any) -> Any:
        def then(report: Any, progress: Any) -> bool:
            models.append(weakref.ref(progress._fitting.mpnn))
            if end == "out of memory" and report.epoch == 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return bool(on_epoch(report, progress))

        return train(spec, fold, then)

    stand_in_gpu(monkeypatch, lambda: alive_when_emptied.append(models[0]() is not None))
    worker = start(train=watched, max_epochs=3)
    reports = [worker.next_report() for _ in range(3 if end == "finished" else 2)]
    assert worker.stop(30, keep=True)
    assert alive_when_emptied == [False]
    reason = {"out of memory": "oom", "stopped": None, "finished": "max_t"}[end]
    assert reports[-1].stop_reason == reason


def test_a_gpu_that_was_never_used_is_not_woken(
    start: Callable[..., TrainingThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    stand_in_gpu(monkeypatch, lambda: calls.append(None), initialized=False)
    worker = start()
    worker.next_report()
    assert worker.stop(30, keep=False)
    assert calls == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_gpu_that_gives_nothing_back_holds_up_no_report(
    start: Callable[..., TrainingThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    stand_in_gpu(monkeypatch, fails)
    report = start(train=fails).next_report()
    assert report.stop_reason == "error"
