"""A training that follows a script, for tests of what Ray, ASHA and the study make of it.

The script is chosen by the searched parameter ``depth``: its curve, and how it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry.models.checkpoints import read_checkpoint, write_checkpoint
from chemprop_hpo.hpo.chemistry.training.train import (
    EpochReport,
    NonFiniteLossError,
    TrainingSpec,
)

GOOD, BAD, EARLY, DIPS, FAILS_FIRST, FAILS_LATER = 1, 2, 3, 4, 5, 6
NAN_FIRST, NAN_LATER, SILENT, ENDLESS, LINGERS, OOM, DISK_FULL, DIES_ONCE = (
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
)


class Scripted:
    """What a training can write of itself: its last report, and no weights."""

    def __init__(self, report: EpochReport) -> None:
        self.report = report

    def save_checkpoint(self, path: Path) -> None:
        write_checkpoint(path, {"report": asdict(self.report)}, {})

    def save_best(self, path: Path) -> None:
        path.write_bytes(b"best")


def values_of(script: int, max_epochs: int) -> Iterator[float]:
    for epoch in range(1, max_epochs + 1):
        if script in (BAD, LINGERS):
            yield 10.0 - epoch * 0.01
        elif script == DIPS:
            yield 0.5 if epoch == 2 else 0.9
        else:
            yield 1.0 - epoch * 0.01


def before_epoch(script: int, epoch: int) -> None:
    if (script, epoch) in {(FAILS_FIRST, 1), (FAILS_LATER, 3)}:
        raise RuntimeError("the script says so")
    if (script, epoch) in {(NAN_FIRST, 1), (NAN_LATER, 3)}:
        raise NonFiniteLossError(epoch)
    if (script, epoch) == (OOM, 2):
        raise MemoryError("12 GiB asked for")
    if (script, epoch) == (DISK_FULL, 2):
        raise OSError(28, "No space left on device")
    if script == ENDLESS:
        time.sleep(0.05)


def scripted_train(
    spec: TrainingSpec,
    fold: Any,
    on_epoch: Callable[[EpochReport, Any], bool],
    resume_from: Path | None = None,
) -> EpochReport | None:
    """Follow the script of ``spec.model.depth``."""
    script = spec.model.depth
    if script == SILENT:
        return None
    before = None
    if resume_from is not None:
        stored = read_checkpoint(resume_from)[0]["report"]
        before = EpochReport(**stored | {"curve": tuple(stored["curve"])})
        if not on_epoch(before, Scripted(before)) or before.stop_reason is not None:
            return before
    try:
        return follow(script, spec.max_epochs, on_epoch, before)
    finally:
        if script == LINGERS:
            time.sleep(6)  # longer than Tune's own patience with a stopped thread


def follow(
    script: int,
    max_epochs: int,
    on_epoch: Callable[[EpochReport, Any], bool],
    before: EpochReport | None,
) -> EpochReport:
    report = before or EpochReport(0, 0.0, float("inf"), 0, {}, {}, (), 0.0)
    for epoch, value in enumerate(values_of(script, max_epochs), start=1):
        if epoch <= report.epoch:
            continue
        before_epoch(script, epoch)
        best, best_epoch = min((report.best, report.best_epoch), (value, epoch))
        reason = "early_stopping" if script == EARLY and epoch == 4 else None
        reason = "max_t" if epoch == max_epochs else reason
        final = {"val_loss": best, "train_loss": best / 2} if reason else None
        report = EpochReport(
            epoch=epoch,
            value=value,
            best=best,
            best_epoch=best_epoch,
            metrics={"val_loss": value},
            best_metrics={"val_loss": best},
            curve=(*report.curve, best),
            seconds=0.01,
            stop_reason=reason,
            final=final,
        )
        if not on_epoch(report, Scripted(report)):
            break
    return report


def dies_once_train(
    spec: TrainingSpec, fold: Any, on_epoch: Any, resume_from: Path | None = None
) -> EpochReport | None:
    """Kill the worker's process at the third epoch, the first time that it is there."""
    mark = Path(os.environ["CHEMPROP_HPO_TEST_MARK"])

    def then(report: EpochReport, progress: Any) -> bool:
        if report.epoch == 3 and not mark.exists():
            mark.touch()
            os._exit(1)
        return bool(on_epoch(report, progress))

    return scripted_train(spec, fold, then, resume_from)


@dataclass(frozen=True)
class Crowded:
    """A training in memory that has room for so many at once, which is short at least once."""

    folder: Path
    room: int

    def __call__(
        self, spec: TrainingSpec, fold: Any, on_epoch: Any, resume_from: Path | None = None
    ) -> EpochReport | None:
        """Follow the script, as long as there is room."""
        mine = self.folder / f"{os.getpid()}.training"
        mine.touch()

        def then(report: EpochReport, progress: Any) -> bool:
            self._take_memory()
            return bool(on_epoch(report, progress))

        try:
            return scripted_train(spec, fold, then, resume_from)
        finally:
            mine.unlink()

    def _take_memory(self) -> None:
        was_short, deadline = self.folder / "was short", time.monotonic() + 120
        while not was_short.exists() and not self._is_short():
            if time.monotonic() > deadline:
                raise TimeoutError("not even one too many has come")
            time.sleep(0.02)
        if self._is_short():
            was_short.touch()
            raise torch.OutOfMemoryError("CUDA out of memory")

    def _is_short(self) -> bool:
        return len(list(self.folder.glob("*.training"))) > self.room


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


def table(folder: Path, rows: int = 30) -> Path:
    """Write a small table of alkanes and alcohols, and return its path."""
    path = folder / "molecules.csv"
    lines = [f"{'C' * (1 + i // 2)}{'O' * (i % 2)},{i * 0.1:.2f}" for i in range(rows)]
    path.write_text("smiles,y\n" + "\n".join(lines) + "\n")
    return path


def sweep_of(folder: Path, scripts: list[int], **sections: Any) -> LoadedSweep:
    """Return a sweep that tries the scripts in order, one at a time."""
    config: dict[str, Any] = {
        "data": {"file": str(table(folder)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "val_fraction": 0.2},
        "search_space": {"depth": {"type": "choice", "choices": list(range(1, 15))}},
        "base": False,
        "enqueue": [{"depth": script} for script in scripts],
        "num_samples": len(scripts),
        "scheduler": {"max_t": 9, "grace_period": 3, "reduction_factor": 3},
        "resources": {"max_concurrent_trials": 1},
        "study": {
            "name": "scripted",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
    }
    for name, section in sections.items():
        both = isinstance(section, dict) and name in config
        config[name] = {**config[name], **section} if both else section
    return load_stored(config)
