"""The folder of one trial: its last two checkpoints while it runs, its best weights afterwards."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["TrialFolder"]

BEST = "best.pt"
CHECKPOINT = re.compile(r"epoch_(\d{5,})\.ckpt")


class Saves(Protocol):
    """What a training can write of itself."""

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on."""

    def save_best(self, path: Path) -> None:
        """Write the best weights so far."""


@dataclass(frozen=True)
class TrialFolder:
    """Checkpoints of a trial and of all that continue it, outside Ray's own folders.

    A worker that was given up for dead may go on writing while its successor does. So a
    checkpoint is written whole or not at all, one epoch's is the same whoever writes it, and
    each worker removes only what lies before its own.

    Parameters
    ----------
    path : Path
        The folder; it is made when something is written.
    """

    path: Path

    @property
    def best_model(self) -> Path:
        """Where the best weights are, in Chemprop's own format."""
        return self.path / BEST

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first.

        Raises
        ------
        OSError
            If the folder is there and cannot be looked into.
        """
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        epochs = {int(found[1]): name for name in names if (found := CHECKPOINT.fullmatch(name))}
        return [self.path / epochs[epoch] for epoch in sorted(epochs, reverse=True)]

    def save(self, training: Saves, epoch: int, after: int) -> Path:
        """Write a checkpoint, whole or not at all, and drop those that are no longer needed.

        Parameters
        ----------
        training : Saves
            Writes it.
        epoch : int
            The epoch that it holds.
        after : int
            The epoch of the checkpoint that this training wrote last or went on from; 0 where
            there is none. What lies before that one is dropped. The one itself is kept, should
            the new one turn out to be damaged; so is all that is newer, which is another
            worker's, or damaged, and is written again when this one gets there.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is there still.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        target = self._checkpoint(epoch)
        training.save_checkpoint(target)
        previous = self._checkpoint(after)
        found = self.checkpoints()
        if previous in found:
            for old in found[found.index(previous) + 1 :]:
                old.unlink(missing_ok=True)
        return target

    def save_best(self, training: Saves) -> Path:
        """Write the best weights so far."""
        self.path.mkdir(parents=True, exist_ok=True)
        training.save_best(self.best_model)
        return self.best_model

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints, and what a killed writer left half-written."""
        for path in self.checkpoints():
            path.unlink(missing_ok=True)
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _checkpoint(self, epoch: int) -> Path:
        return self.path / f"epoch_{epoch:05d}.ckpt"
