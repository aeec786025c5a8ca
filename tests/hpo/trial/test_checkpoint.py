"""The folder of a trial: what is kept in it, on a full disk and with several writers."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.checkpoints import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder

STATE = {"weights": torch.arange(5000.0)}


class Training:
    """Something to save: its epoch, and a state of 20 kB."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def save_checkpoint(self, path: Path) -> None:
        write_checkpoint(path, {"epoch": self.epoch}, STATE)

    def save_best(self, path: Path) -> None:
        path.write_bytes(b"best")


def save(folder: TrialFolder, *epochs: int, after: int = 0) -> None:
    for epoch in epochs:
        folder.save(Training(epoch), epoch, after)
        after = epoch


def epochs_in(folder: TrialFolder) -> list[int]:
    """Return the epochs of the checkpoints, newest first; every one must be whole."""
    return [read_checkpoint(path)[0]["epoch"] for path in folder.checkpoints()]


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path / "trial")


# ----------------------------------------------------------------------------- what is kept


def test_a_folder_that_is_not_there_holds_no_checkpoints(folder: TrialFolder) -> None:
    assert folder.checkpoints() == []


def test_the_last_two_are_kept(folder: TrialFolder) -> None:
    save(folder, 1, 4, 6, 9)
    assert epochs_in(folder) == [9, 6]


def test_checkpoints_are_ordered_by_epoch_however_many_digits_it_has(folder: TrialFolder) -> None:
    save(folder, 99_999, 100_000)
    (folder.path / "epoch_last.ckpt").touch()
    assert epochs_in(folder) == [100_000, 99_999]


def test_the_checkpoint_that_a_training_went_on_from_is_kept_until_there_are_two_newer(
    folder: TrialFolder,
) -> None:
    save(folder, 3, 5)
    (folder.path / "epoch_00005.ckpt").write_bytes(b"damaged")
    save(folder, 4, after=3)
    assert [p.name for p in folder.checkpoints()] == [f"epoch_0000{e}.ckpt" for e in (5, 4, 3)]
    save(folder, 5, after=4)
    assert epochs_in(folder) == [5, 4]


# ----------------------------------------------------------------------------- no room, no right


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_leaves_what_was_there_and_nothing_half_written(
    folder: TrialFolder,
) -> None:
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    save(folder, 1, 2)
    with largest_file(10_000), pytest.raises(OSError, match="large"):
        save(folder, 3, after=2)
    assert epochs_in(folder) == [2, 1]
    assert len(list(folder.path.iterdir())) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_whatever_step_of_writing_fails_the_checkpoints_before_it_stay(
    folder: TrialFolder, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    save(folder, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, fail)
        for epoch in (3, 2):  # a new file, and one in the place of another
            with pytest.raises(OSError, match=os.strerror(number)):
                save(folder, epoch, after=2)
    assert epochs_in(folder) == [2, 1]
    assert len(list(folder.path.iterdir())) == 2


def test_a_file_system_that_cannot_synchronise_folders_is_written_to(
    folder: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    save(folder, 1)
    assert epochs_in(folder) == [1]


# ----------------------------------------------------------------------------- two writers


def test_a_worker_that_is_behind_removes_nothing_of_one_that_is_ahead(folder: TrialFolder) -> None:
    save(folder, 2, 3)
    save(folder, 6, 7, 8, after=3)  # its successor, which went on from 3
    save(folder, 4, 5, after=3)
    assert epochs_in(folder) == [8, 7, 5, 4]
    save(folder, 6, 7, after=5)
    assert epochs_in(folder) == [8, 7, 6]


def test_a_worker_that_is_ahead_removes_what_the_other_left_behind(folder: TrialFolder) -> None:
    save(folder, 2, 3)
    save(folder, 8, after=3)
    save(folder, 4, 5, after=3)
    save(folder, 9, after=8)
    assert epochs_in(folder) == [9, 8]


def test_a_worker_whose_own_checkpoint_was_removed_removes_none(folder: TrialFolder) -> None:
    save(folder, 8, 9)
    save(folder, 10, after=7)
    assert epochs_in(folder) == [10, 9, 8]


def test_two_workers_that_write_the_same_epochs_at_once_leave_whole_files(
    folder: TrialFolder,
) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            save(folder, *range(1, 40))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for path in folder.checkpoints():
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # else: just removed
                    failures.append(error)
    assert failures == []
    assert epochs_in(folder)[0] == 39
    assert not list(folder.path.glob(".*.tmp"))


def test_a_folder_is_cleared_of_what_a_killed_writer_left(folder: TrialFolder) -> None:
    save(folder, 1, 2)
    (folder.path / ".epoch_00003.ckpt.5d9e.tmp").write_bytes(b"half")
    folder.save_best(Training(2))
    folder.drop_checkpoints()
    assert [p.name for p in folder.path.iterdir()] == ["best.pt"]
