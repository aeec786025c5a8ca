"""The bridge from Ray Tune to the study: Tune asks for trials and tells how they went."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.search.asha import bracket_of, rung_counts
from chemprop_hpo.hpo.search.book import Flight, TrialBook
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.search.reports import REPORT, TrialReport
from chemprop_hpo.hpo.search.source import TrialSource
from chemprop_hpo.hpo.search.space import Space

__all__ = ["StudySearcher"]

log = logging.getLogger(__name__)

COMPLETE_REASONS = frozenset({"max_t", "early_stopping"})


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
        How many trials may run at once.
    stopped_by_asha : callable
        Whether ASHA stopped the trial of a Ray id.
    """

    def __init__(
        self,
        config: SweepConfig,
        source: TrialSource,
        book: TrialBook,
        concurrency: int,
        stopped_by_asha: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._config = config
        self._space = Space.of(config)
        self._source = source
        self._book = book
        self._concurrency = concurrency
        self._stopped_by_asha = stopped_by_asha
        self._rungs = rung_counts(config.scheduler, config.max_epochs)
        self.fatal: str | None = None
        """Why no trial can go on: no room for checkpoints. None as long as they can."""

    # ------------------------------------------------------------------ Tune asks

    def suggest(self, trial_id: str) -> Any:
        """Return a trial for a worker, ``None`` to wait, ``FINISHED`` at the end of the budget."""
        if len(self._book.flights) >= self._concurrency or self.fatal:
            return None
        trial = self._source.next_trial()
        if trial is None:
            return Searcher.FINISHED
        flight = self._flight(trial, trial_id)
        head = self._config.with_params(flight.params).model.ffn_type
        self._book.begin(flight, head)
        log.debug("trial %d begins: %s", flight.number, flight.params)
        return {
            "number": flight.number,
            "params": flight.params,
            "seed": flight.seed,
            "folder": flight.folder,
        }

    def _flight(self, trial: Trial, ray_id: str) -> Flight:
        given = trial.user_attrs
        return Flight(
            trial=trial,
            ray_id=ray_id,
            params=self._space.suggest(trial),
            seed=given.get("seed", self._config.seed + trial.number),
            bracket=given.get("bracket", self._bracket(trial.number)),
            folder=given.get("checkpoint", f"trials/{trial.number:05d}"),
            continues=given.get("continues"),
        )

    def _bracket(self, number: int) -> int:
        return bracket_of(self._config.seed, number, self._rungs)

    # ------------------------------------------------------------------ Tune tells

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Write down an epoch of a trial that goes on."""
        if flight := self._book.flights.get(trial_id):
            self._book.report(flight, result[REPORT])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write down how a trial ended, where the worker or ASHA ended it.

        A trial whose worker failed is ended by `fail`, which knows the exception.
        """
        flight = self._book.flights.get(trial_id)
        if error or flight is None or result is None or REPORT not in result:
            return
        report: TrialReport = result[REPORT]
        self._book.report(flight, report)
        if report.stop_reason is not None:
            self._ended_by_itself(flight, report)
        elif self._stopped_by_asha(trial_id):
            self._book.end(flight, TrialState.PRUNED, "asha")
        elif report.epoch >= self._config.max_epochs:
            # A study resumed with a lower `max_t`: its checkpoints may be beyond it.
            self._book.end(flight, TrialState.COMPLETE, "max_t")

    def fail(self, trial_id: str, error: str) -> None:
        """Write down a trial whose worker failed for good."""
        if flight := self._book.flights.get(trial_id):
            self._book.end(flight, TrialState.FAIL, "error", error)

    def _ended_by_itself(self, flight: Flight, report: TrialReport) -> None:
        reason = report.stop_reason or "error"
        if reason in COMPLETE_REASONS:
            self._book.end(flight, TrialState.COMPLETE, reason)
        elif reason == "oom":
            # TPE never reads failed trials; a pruned one with a violated constraint it avoids.
            flight.trial.set_constraint("memory", 1.0)
            self._book.end(flight, TrialState.PRUNED, reason, report.error)
        elif reason == "disk_full":
            self.fatal = report.error or "no room for a checkpoint"
        else:
            self._book.end(flight, TrialState.FAIL, reason, report.error)

    # ------------------------------------------------------------------ Tune's own snapshots

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study is the only truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the study is the only truth."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write nothing: the study is the only truth."""
