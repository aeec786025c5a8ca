"""A training that runs in a thread and waits after each epoch to be told to go on."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.chemistry.fold import Fold
from chemprop_hpo.hpo.chemistry.training import (
    CheckpointError,
    EpochReport,
    NonFiniteLossError,
    TrainingSpec,
)
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.failures import is_disk_full, is_out_of_memory

__all__ = ["Train", "TrainingThread"]

log = logging.getLogger(__name__)

Train = Callable[..., EpochReport]
"""A function with the signature of `chemprop_hpo.hpo.chemistry.training.train`."""


@dataclass
class TrainingThread:
    """One trial's training, an epoch at a time.

    The training thread hands over a report after each epoch and waits: whoever asks for the
    next report lets it go on. So stopping a trial never waits for more than the epoch in
    progress, and no epoch is trained that nobody asked for.

    What goes wrong in the training comes back as a last report that says so, never as an
    exception: deaths of the worker itself stay apart from errors of the training.

    Parameters
    ----------
    train : callable
        Trains; calls back after each epoch.
    spec : TrainingSpec
        What to train.
    fold : Fold
        On what.
    folder : TrialFolder
        Where its checkpoints are and go.
    checkpoint_every_s : float
        Seconds that must pass between two checkpoints.
    """

    train: Train
    spec: TrainingSpec
    fold: Fold
    folder: TrialFolder
    checkpoint_every_s: float
    _reports: queue.SimpleQueue[TrialReport] = field(default_factory=queue.SimpleQueue)
    _go_on: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)
    _saved_at: float = field(default_factory=time.monotonic)
    _saved_epoch: int = 0
    _thread: threading.Thread | None = None

    def next_report(self) -> TrialReport:
        """Train one epoch more and return its report."""
        if self._thread is None:
            self._start()
        else:
            self._go_on.put(True)
        return self._reports.get()

    def stop(self, timeout_s: float, *, keep: bool) -> bool:
        """Tell the training to stop and wait for its end.

        Parameters
        ----------
        timeout_s : float
            Seconds to wait for the thread.
        keep : bool
            Whether to write a checkpoint first, so that the trial can be continued.

        Returns
        -------
        bool
            Whether the thread has ended.
        """
        if self._thread is None:
            return True
        self._keep = keep
        self._go_on.put(False)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------ in the thread

    _keep: bool = False

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._train_from_checkpoint()
        except BaseException as error:  # whatever it is, somebody waits for a report
            self._reports.put(_last_words(error))

    def _train_from_checkpoint(self) -> None:
        if found := self.folder.newest():
            _, header = found
            self._saved_epoch = header.epoch
            # The checkpoint may be ahead of the database: its own epoch is told first.
            self._reports.put(replace(_report(header), curve=header.curve))
            if header.stop_reason is not None or not self._go_on.get():
                return
        self._train_on()

    def _train_on(self) -> None:
        if found := self.folder.newest():
            self._continue_from(found[0])
        else:
            self._finish(self.train(self.spec, self.fold, self._after_epoch))

    def _continue_from(self, path: Path) -> None:
        try:
            last = self.train(self.spec, self.fold, self._after_epoch, resume_from=path)
        except CheckpointError as error:
            log.warning("%s; going back to the one before it, or to the start", error)
            path.unlink(missing_ok=True)
            self._train_on()
        else:
            self._finish(last)

    def _after_epoch(self, epoch: EpochReport, progress: Any) -> bool:
        if epoch.stop_reason is not None:
            self.folder.save_best(progress)
            # Until the driver has heard of the end, the trial can only go on from here.
            self.folder.save(progress, epoch.epoch)
            self._reports.put(_report(epoch))
            return False
        self._checkpoint_if_due(epoch, progress)
        self._reports.put(_report(epoch))
        go_on = self._go_on.get()
        if not go_on and self._keep and self._saved_epoch < epoch.epoch:
            self.folder.save(progress, epoch.epoch)
        return go_on

    def _checkpoint_if_due(self, epoch: EpochReport, progress: Any) -> None:
        now = time.monotonic()
        if now - self._saved_at >= self.checkpoint_every_s:
            self.folder.save(progress, epoch.epoch)
            self._saved_at, self._saved_epoch = now, epoch.epoch

    def _finish(self, last: EpochReport | None) -> None:
        if last is None:
            error = "the training ended without reporting an epoch"
            self._reports.put(TrialReport(stop_reason="error", error=error))


def _report(epoch: EpochReport) -> TrialReport:
    return TrialReport(
        epoch=epoch.epoch,
        value=epoch.value,
        best=epoch.best,
        best_epoch=epoch.best_epoch,
        metrics=epoch.metrics,
        best_metrics=epoch.best_metrics,
        seconds=epoch.seconds,
        stop_reason=epoch.stop_reason,
        final=epoch.final,
    )


def _last_words(error: BaseException) -> TrialReport:
    if isinstance(error, NonFiniteLossError):
        return TrialReport(stop_reason="nan", error=str(error))
    if is_out_of_memory(error):
        return TrialReport(stop_reason="oom", error=str(error).splitlines()[0])
    if is_disk_full(error):
        return TrialReport(stop_reason="disk_full", error=f"no room for a checkpoint: {error}")
    where = "".join(traceback.format_exception(error)[-3:])
    return TrialReport(stop_reason="error", error=f"{type(error).__name__}: {error}\n{where}")
