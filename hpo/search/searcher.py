"""The bridge from Ray Tune to the study: Tune asks for trials and tells how they went."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.search.asha import bracket_of, rung_counts
from chemprop_hpo.hpo.search.book import Flight, TrialBook
from chemprop_hpo.hpo.search.chains import reached_epoch
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.search.gpu_sharing import GpuSharing
from chemprop_hpo.hpo.search.reports import REPORT, TrialReport
from chemprop_hpo.hpo.search.source import TrialSource
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.storage.trials import folder_of

__all__ = ["StudySearcher"]

log = logging.getLogger(__name__)

COMPLETE_REASONS = frozenset({"max_t", "early_stopping"})

WORKER_DEATHS = 3
"""How often the workers of a trial may die at one epoch; it may be what kills them."""

ASK_AGAIN_S = 5.0
"""How long to wait, when the budget is spent, before looking again for trials to take up."""


class StudySearcher(DriverSide, Searcher):
    """Gives Tune the study's trials and the study Tune's results.

    Tune's own ``OptunaSearch`` records a trial that the scheduler stopped as complete with its
    last value and leaves a trial with a NaN running for ever. Here every way in which a trial
    can end has its state, and nothing is guessed: the worker says why it ended by itself, and
    the scheduler says whom it stopped. What is left running when Tune returns was stopped with
    the sweep, and is the sweep's to settle.

    Parameters
    ----------
    config : SweepConfig
        The sweep.
    source : TrialSource
        Where trials come from.
    book : TrialBook
        Where their fate is written.
    concurrency : int
        How many trials may run at once; fewer will where they run out of a shared GPU's memory.
    stopped_by_asha : callable
        Whether ASHA stopped the trial of a Ray id.
    must_end : callable, optional
        Whether the sweep must end before its budget is spent. While no trial runs, Tune asks
        for one and for nothing else, up to ten minutes long.
    """

    def __init__(
        self,
        config: SweepConfig,
        source: TrialSource,
        book: TrialBook,
        concurrency: int,
        stopped_by_asha: Callable[[str], bool],
        must_end: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._config = config
        self._space = Space.of(config)
        self._source = source
        self._book = book
        self._sharing = GpuSharing(concurrency, config.resources.gpus_per_trial)
        self._stopped_by_asha = stopped_by_asha
        self._must_end = must_end
        self._rungs = rung_counts(config.scheduler, config.max_epochs)
        self._half_begun: int | None = None
        self._ask_again_at = 0.0
        self.fatal: str | None = None
        """Why no trial can go on: checkpoints cannot be written. None as long as they can."""

    # ------------------------------------------------------------------ Tune asks

    def suggest(self, trial_id: str) -> Any:
        """Return a trial for a worker, ``None`` to wait, ``FINISHED`` at the end of the budget."""
        if self._must_end():
            return Searcher.FINISHED
        flights = self._book.flights.values()
        waiting = next((flight for flight in flights if flight.needs_worker), None)
        if waiting is not None and self._sharing.readmits(flights):
            self._book.begin_again(waiting, trial_id)
            return self._task(waiting)
        if not self._sharing.admits(flights) or not self._book.writer.may_ask():
            return None
        try:
            answer = self._next(trial_id)
        except UpdateFinishedTrialError:
            log.warning("a trial was taken before it began: another driver found this one asleep")
            self._half_begun = None
            return None
        except Exception as error:
            if not self._book.writer.excuse(error):
                raise
            return None
        self._book.writer.note_success()
        return answer

    def _next(self, trial_id: str) -> Any:
        if self._book.flights and time.monotonic() < self._ask_again_at:
            return None
        trial = self._next_trial()
        if trial is None and self._source.take_up_orphans():
            trial = self._source.next_trial()
        if trial is None:
            # While this driver works, it takes up what other drivers may yet leave behind.
            self._ask_again_at = time.monotonic() + ASK_AGAIN_S
            is_over = not self._book.flights and not self._source.doubts_another_driver()
            return Searcher.FINISHED if is_over else None
        self._half_begun = trial._trial_id  # the database may go away before all is suggested
        flight = self._flight(trial, trial_id)
        self._half_begun = None
        self._book.begin(flight)
        log.debug("trial %d begins: %s", flight.number, flight.params)
        return self._task(flight)

    def _next_trial(self) -> Trial | None:
        if self._half_begun is None:
            return self._source.next_trial()
        return self._source.opened(self._half_begun)

    def _task(self, flight: Flight) -> dict[str, Any]:
        """Return what a worker is told of a trial that is now its own."""
        self._sharing.note_begin(flight, self._book.flights.values())
        return {
            "number": flight.number,
            "params": flight.params,
            "seed": flight.seed,
            "folder": flight.folder,
            "reached": max(flight.reached, flight.last.epoch),
            "alone": self._sharing.is_alone(flight),
        }

    def _flight(self, trial: Trial, ray_id: str) -> Flight:
        given = trial.user_attrs
        folder = folder_of(trial.number, given)
        continues = given.get("continues")
        with self._book.point_of(trial):
            params = self._space.suggest(trial)
        return Flight(
            trial=trial,
            ray_id=ray_id,
            params=params,
            head=self._config.with_params(params).model.ffn_type,
            seed=given.get("seed", self._config.seed + trial.number),
            bracket=given.get("bracket", self._bracket(trial.number)),
            folder=folder,
            continues=continues,
            reached=0 if continues is None else reached_epoch(trial.study, folder),
        )

    def _bracket(self, number: int) -> int:
        return bracket_of(self._config.seed, number, self._rungs)

    # ------------------------------------------------------------------ Tune tells

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Write down an epoch of a trial that goes on."""
        if flight := self._book.flights.get(trial_id):
            self._note_epoch(flight, result[REPORT])
            self._book.report(flight, result[REPORT])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write down how a trial ended, where the worker or ASHA ended it.

        A trial whose worker failed is left to `worker_failed`, which knows why.
        """
        flight = self._book.flights.get(trial_id)
        if error or flight is None or result is None or REPORT not in result:
            return
        report: TrialReport = result[REPORT]
        self._note_epoch(flight, report)
        if report.stop_reason is not None:
            self._ended_by_itself(flight, report)
        elif self._stopped_by_asha(trial_id):
            self._book.end(flight, TrialState.PRUNED, "asha", report=report)
        elif report.epoch >= self._config.max_epochs:
            # A study resumed with a lower `max_t`: its checkpoints may be beyond it.
            self._book.end(flight, TrialState.COMPLETE, "max_t", report=report)
        else:
            self._book.report(flight, report)

    def worker_failed(self, trial_id: str, error: str, *, out_of_memory: bool) -> None:
        """Give a trial whose worker died another one, or end it.

        Parameters
        ----------
        trial_id : str
            Ray's id.
        error : str
            What Ray says of the worker.
        out_of_memory : bool
            Whether Ray killed it since the machine ran out of memory.
        """
        flight = self._book.flights.get(trial_id)
        if flight is None:
            return
        flight.deaths += 1
        if out_of_memory:
            self._book.end(flight, TrialState.PRUNED, "oom", error)
        elif flight.deaths > WORKER_DEATHS:
            text = f"its worker died {flight.deaths} times without a new epoch: {error}"
            self._book.end(flight, TrialState.FAIL, "error", text)
        else:
            log.warning("trial %d has lost its worker and gets another: %s", flight.number, error)
            flight.needs_worker = True

    def has_ended(self, trial_id: str) -> bool:
        """Whether a trial that Tune still runs has ended in the study: another driver took it."""
        return trial_id not in self._book.flights

    def _note_epoch(self, flight: Flight, report: TrialReport) -> None:
        # A training that goes on reports its checkpoint's epoch first, without a step.
        if report.epoch > max(flight.reached, flight.last.epoch):
            self._sharing.note_epoch(flight, self._book.flights.values())

    def _ended_by_itself(self, flight: Flight, report: TrialReport) -> None:
        reason = report.stop_reason or "error"
        if reason == "unwritable":
            self.fatal = report.error or "no checkpoint can be written"
        elif reason == "oom" and self._sharing.is_crowded_out(
            flight, self._book.flights.values(), report.error
        ):
            flight.needs_worker = True
        else:
            self._book.end(flight, _state_of(reason), reason, report.error, report)

    # ------------------------------------------------------------------ Tune's own snapshots

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study is the only truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study is the only truth."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write nothing: the study is the only truth."""


def _state_of(reason: str) -> TrialState:
    if reason in COMPLETE_REASONS:
        return TrialState.COMPLETE
    # TPE never reads failed trials; a pruned one with a violated constraint it avoids.
    return TrialState.PRUNED if reason == "oom" else TrialState.FAIL
