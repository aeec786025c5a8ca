"""Trains as a worker does, and is killed at a chosen moment: `python -m tests.hpo.killable FOLDER`.

Every life of a trial is a process of its own, forked from one that has only imported what they
need: imports take longer than all of them together.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.chemistry.models import checkpoints
from chemprop_hpo.hpo.chemistry.training.fitting import Fitting
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.training_thread import TrainingThread
from tests.hpo.trainings import hard_fold, hard_spec

LAST = 6

Arrange = Callable[[], None]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_epoch(epoch: int) -> Arrange:
    """Die in the second batch of an epoch, its first step taken."""

    def arrange() -> None:
        step = Fitting.training_step

        def deadly(self: Fitting, batch: Any, number: int) -> Any:
            if (self.loader.epoch, number) == (epoch, 1):
                die()
            return step(self, batch, number)

        Fitting.training_step = deadly

    return arrange


def before_evaluation(epoch: int) -> Arrange:
    """Die when all steps of an epoch are taken, before anybody hears of it."""

    def arrange() -> None:
        end = Fitting.on_train_epoch_end

        def deadly(self: Fitting) -> None:
            if self.loader.epoch == epoch:
                die()
            end(self)

        Fitting.on_train_epoch_end = deadly

    return arrange


def half_written(name: str) -> Arrange:
    """Die when half of a file's bytes are on the disk."""

    def arrange() -> None:
        fsync = os.fsync

        def deadly(descriptor: int) -> None:
            here = os.fstat(descriptor)
            if any(os.path.samestat(here, p.stat()) for p in Path().glob(f".{name}.*.tmp")):
                os.ftruncate(descriptor, here.st_size // 2)
                die()
            fsync(descriptor)

        os.fsync = deadly

    return arrange


def not_yet_renamed(name: str) -> Arrange:
    """Die when a file is whole, but does not have its name yet."""

    def arrange() -> None:
        rename = Path.replace

        def deadly(self: Path, target: Path) -> Path:
            if target.name == name:
                die()
            return rename(self, target)

        Path.replace = deadly  # type: ignore[method-assign]  # this process ends by it

    return arrange


def just_renamed(name: str) -> Arrange:
    """Die when a file has its name, before the epoch is reported and old ones are removed."""

    def arrange() -> None:
        def deadly(folder: Path) -> None:
            if (folder / name).exists():
                die()

        checkpoints._sync_folder = deadly

    return arrange


def unharmed() -> None:
    """Live to the end."""


LIVES: dict[str, list[Arrange]] = {
    "straight": [unharmed],
    "in the first epoch": [in_epoch(1), unharmed],
    "in an epoch": [in_epoch(4), unharmed],
    "before the evaluation": [before_evaluation(3), unharmed],
    "in the last epoch": [in_epoch(LAST), unharmed],
    "in the first checkpoint": [half_written("epoch_00001.ckpt"), unharmed],
    "in a checkpoint": [half_written("epoch_00003.ckpt"), unharmed],
    "in the best model": [half_written("best.pt"), unharmed],
    "in the last checkpoint": [half_written(f"epoch_{LAST:05d}.ckpt"), unharmed],
    "before a rename": [not_yet_renamed("epoch_00004.ckpt"), unharmed],
    "after a rename": [just_renamed("epoch_00002.ckpt"), unharmed],
    "after the last rename": [just_renamed(f"epoch_{LAST:05d}.ckpt"), unharmed],
    "again and again": [
        in_epoch(2),
        half_written("epoch_00002.ckpt"),
        in_epoch(2),
        just_renamed("epoch_00004.ckpt"),
        before_evaluation(5),
        half_written("epoch_00005.ckpt"),
        unharmed,
    ],
}


TWO_AT_ONCE = "two at once"


def live(folder: Path) -> None:
    """Train as a worker does that keeps a checkpoint of each epoch, and note each report."""
    spec = hard_spec("mixture_of_experts", LAST)
    worker = TrainingThread(train, spec, hard_fold(), TrialFolder(folder), 0.0)
    reason = None
    while reason is None:
        report = worker.next_report()
        with (folder / "reports").open("a") as file:
            file.write(json.dumps(vars(replace(report, seconds=0.0))) + "\n")
        reason = report.stop_reason


def begin(arrange: Arrange, folder: Path) -> int:
    """Begin a life in a process of its own."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        arrange()
        live(folder)
        os._exit(0)
    return child


def ended(child: int) -> int:
    """Wait for the end of a life; return the number of the signal that ended it, or 0."""
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise RuntimeError("a training came to an end of its own making")
    return os.WTERMSIG(status)


def main() -> None:
    """Let each trial live; the last one has two workers at once from its third epoch on."""
    root = Path(sys.argv[1]).absolute()
    for name, lives in LIVES.items():
        folder = root / name
        folder.mkdir()
        ends = [ended(begin(arrange, folder)) for arrange in lives]
        (folder / "ended").write_text(json.dumps(ends))
    folder = root / TWO_AT_ONCE
    folder.mkdir()
    ended(begin(in_epoch(3), folder))
    both = [begin(unharmed, folder) for _ in range(2)]
    (folder / "ended").write_text(json.dumps([ended(child) for child in both]))


if __name__ == "__main__":
    main()
