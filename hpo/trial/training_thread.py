"""A training that runs in a thread and waits after each epoch to be told to go on."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.training.train import (
    CheckpointError,
    EpochReport,
    NonFiniteLossError,
    TrainingSpec,
)
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.failures import is_out_of_memory, is_unwritable
from chemprop_hpo.hpo.trial.memory import release_memory

__all__ = ["Train", "TrainingThread"]

Train = Callable[..., EpochReport | None]
"""A function with the signature of `chemprop_hpo.hpo.chemistry.training.train.train`."""


@dataclass
class TrainingThread:
    """One trial's training, an epoch at a time.

    The training thread hands over a report after each epoch and waits: whoever asks for the
    next report lets it go on. So stopping a trial never waits for more than the epoch in
    progress, and no epoch is trained that nobody asked for.

    What goes wrong in the training comes back as a last report that says so, never as an
    exception: deaths of the worker itself stay apart from errors of the training.

    Where the folder holds checkpoints, the training goes on from the newest one that is whole
    and its own, and first reports that checkpoint's epoch: it may be ahead of the study. What
    had to be passed over for it is told in the notes of that report. Nothing is deleted: what
    is no use to this training may be of use to another.

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
    reached : int
        The last epoch that the study knows of this trial or of those that it continues.
    """

    train: Train
    spec: TrainingSpec
    fold: Fold
    folder: TrialFolder
    checkpoint_every_s: float
    reached: int = 0
    _reports: queue.SimpleQueue[TrialReport] = field(default_factory=queue.SimpleQueue)
    _go_on: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)
    _saved_at: float = field(default_factory=time.monotonic)
    _saved_epoch: int = 0
    _thread: threading.Thread | None = None
    _keep: bool = False
    _restoring: bool = False
    _notes: list[str] = field(default_factory=list)
    _resumed_from: int | None = None
    _has_reported: bool = False

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

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last_words = self._train_to_the_end()
        try:
            # Here no exception is left that would hold the training's frames, and all in them.
            release_memory()
        finally:
            if last_words is not None:
                self._tell(last_words)

    def _train_to_the_end(self) -> TrialReport | None:
        try:
            self._train_from_the_newest()
        except BaseException as error:  # whatever it is, somebody waits for a report
            return _last_words(error)
        if self._has_reported:
            return None
        error_text = "the training ended without reporting an epoch"
        return TrialReport(stop_reason="error", error=error_text)

    def _train_from_the_newest(self) -> None:
        passed_over: set[Path] = set()
        # Listed anew each time: a worker that was given up for dead may add and remove some.
        while path := self._newest_but(passed_over):
            passed_over.add(path)
            if self._went_on_from(path):
                return
        self._note_scratch()
        self.train(self.spec, self.fold, self._after_epoch)

    def _newest_but(self, passed_over: set[Path]) -> Path | None:
        return next((p for p in self.folder.checkpoints() if p not in passed_over), None)

    def _went_on_from(self, path: Path) -> bool:
        self._restoring = True
        try:
            self.train(self.spec, self.fold, self._after_epoch, resume_from=path)
        except CheckpointError as error:
            if is_out_of_memory(error):
                raise
            if not isinstance(error.__cause__, FileNotFoundError):  # else: removed a moment ago
                self._notes.append(f"{error}; passed over")
            return False
        finally:
            self._restoring = False
        return True

    def _note_scratch(self) -> None:
        if not self.reached and not self._notes:
            return
        why = (
            "none of its checkpoints can be used"
            if self._notes
            else f"there is no checkpoint in {self.folder.path}"
        )
        known = f"; the study knows {self.reached} epochs" if self.reached else ""
        self._notes.append(f"trained from scratch: {why}{known}")
        self._resumed_from = 0

    def _after_epoch(self, epoch: EpochReport, progress: Any) -> bool:
        if self._restoring:
            return self._restored(epoch, progress)
        if epoch.stop_reason is not None:
            self.folder.save_best(progress)
            # Until the driver has heard of the end, the trial can only go on from here.
            self._save(epoch, progress)
            self._tell(_report(epoch))
            return False
        if time.monotonic() - self._saved_at >= self.checkpoint_every_s:
            self._save(epoch, progress)
        self._tell(_report(epoch))
        go_on = self._go_on.get()
        if not go_on and self._keep and self._saved_epoch < epoch.epoch:
            self._save(epoch, progress)
        return go_on

    def _restored(self, epoch: EpochReport, progress: Any) -> bool:
        self._restoring = False
        self._saved_epoch = self._resumed_from = epoch.epoch
        if self._notes:
            self._notes.append(f"goes on from its checkpoint of epoch {epoch.epoch}")
        if epoch.stop_reason is not None and not self.folder.best_model.exists():
            self.folder.save_best(progress)
        self._tell(replace(_report(epoch), curve=epoch.curve))
        return epoch.stop_reason is None and self._go_on.get()

    def _save(self, epoch: EpochReport, progress: Any) -> None:
        self.folder.save(progress, epoch.epoch, after=self._saved_epoch)
        self._saved_at, self._saved_epoch = time.monotonic(), epoch.epoch

    def _tell(self, report: TrialReport) -> None:
        """Hand over a report; the first one says how the training began."""
        self._has_reported = True
        self._reports.put(
            replace(report, notes=tuple(self._notes), resumed_from=self._resumed_from)
        )
        self._notes, self._resumed_from = [], None


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
    text = str(error) or type(error).__name__  # a bare MemoryError says nothing
    if isinstance(error, NonFiniteLossError):
        return TrialReport(stop_reason="nan", error=text)
    if is_out_of_memory(error):
        return TrialReport(stop_reason="oom", error=text.splitlines()[0])
    if is_unwritable(error):
        return TrialReport(stop_reason="unwritable", error=f"no checkpoint can be written: {text}")
    where = "".join(traceback.format_exception(error)[-3:])
    return TrialReport(stop_reason="error", error=f"{type(error).__name__}: {text}\n{where}")
