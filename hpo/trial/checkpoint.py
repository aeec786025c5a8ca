"""The folder of one trial: its last two checkpoints while it runs, its best weights afterwards."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chemprop_hpo.hpo.chemistry.training import CheckpointError, EpochReport, read_checkpoint_header

__all__ = ["TrialFolder"]

log = logging.getLogger(__name__)

KEPT = 2
BEST = "best.pt"


class Saves(Protocol):
    """What a training can write of itself."""

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on."""

    def save_best(self, path: Path) -> None:
        """Write the best weights so far."""


@dataclass(frozen=True)
class TrialFolder:
    """Checkpoints of a trial and of all that continue it, outside Ray's own folders.

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
        """Return the checkpoints, newest first."""
        return sorted(self.path.glob("epoch_*.ckpt"), reverse=True)

    def save(self, training: Saves, epoch: int) -> Path:
        """Write a checkpoint of ``epoch`` (whole or not at all) and drop all but the last two."""
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / f"epoch_{epoch:05d}.ckpt"
        training.save_checkpoint(target)
        for old in self.checkpoints()[KEPT:]:
            old.unlink(missing_ok=True)
        return target

    def save_best(self, training: Saves) -> Path:
        """Write the best weights so far."""
        self.path.mkdir(parents=True, exist_ok=True)
        training.save_best(self.best_model)
        return self.best_model

    def newest(self) -> tuple[Path, EpochReport] | None:
        """Return the newest checkpoint that can be read, and the epoch that it holds.

        One that cannot be read is passed over with a warning for the one before it.
        """
        for path in self.checkpoints():
            try:
                return path, read_checkpoint_header(path)
            except CheckpointError as error:
                log.warning("%s; going back to the one before it", error)
        return None

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints, and what a killed writer left half-written."""
        for path in self.checkpoints():
            path.unlink(missing_ok=True)
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)
