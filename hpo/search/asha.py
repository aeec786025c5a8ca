"""ASHA whose rungs can be rebuilt from a study, and which says why it stopped a trial."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from chemprop_hpo.configs.schema import SchedulerConfig
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.search.reports import REPORT, TrialReport
from chemprop_hpo.storage.outages import is_full, is_outage

__all__ = ["Asha", "PastTrial", "bracket_of", "rung_counts"]

log = logging.getLogger(__name__)

EPOCH = "epoch"
RUNNING_BEST = "best"


@dataclass(frozen=True)
class PastTrial:
    """What the rungs need to know of a trial: who it is, its bracket, its running best by epoch.

    ``key`` is shared by a trial and its continuations, so that a chain stands on a rung once.
    """

    key: str
    bracket: int
    best_by_epoch: Mapping[int, float]


class _Rider(NamedTuple):
    trial_id: str


class Asha(DriverSide, AsyncHyperBandScheduler):
    """Asynchronous successive halving (Li et al. 2020) on the running best at each epoch.

    Differs from Ray's in four things: a trial stands on its rungs under the key of its chain,
    so that a continuation is not counted twice; its bracket is given from outside, not drawn
    from a global random state; trials of other drivers stand on the rungs too; and the trials
    that it stopped are known by name, so that the study need not guess from the order of
    Tune's calls.

    Parameters
    ----------
    config : SchedulerConfig
        Grace period (epochs), reduction factor and number of brackets.
    max_epochs : int
        Epochs after which a trial is complete.
    mode : {'min', 'max'}
        Direction of the metric.
    chain_of : callable
        Ray's trial id to the key of the trial's chain and its bracket; None for a trial that
        has been settled already.
    others : callable, optional
        What was reported elsewhere since it was last asked. It is asked before each decision
        on a rung. While the database is away, the trials that are known decide.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        max_epochs: int,
        mode: str,
        chain_of: Callable[[str], tuple[str, int] | None],
        others: Callable[[], Iterable[PastTrial]] | None = None,
    ) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=RUNNING_BEST,
            mode=mode,
            max_t=max_epochs,
            grace_period=min(config.grace_period, max_epochs),
            reduction_factor=config.reduction_factor,
            brackets=config.brackets,
        )
        self._chain_of = chain_of
        self._others = others or tuple
        self._hears = True
        self._sign = 1.0 if mode == "max" else -1.0
        self.stopped: set[str] = set()
        """Ray's ids of the trials that a rung stopped."""

    def rebuild(self, trials: Iterable[PastTrial]) -> None:
        """Put trials of the study onto their rungs: finished, interrupted and other drivers'."""
        for past in trials:
            self.record(past.key, past.bracket, past.best_by_epoch)

    def record(self, key: str, bracket: int, best_by_epoch: Mapping[int, float]) -> None:
        """Put a chain onto the rungs that it has passed, without a decision.

        A rung that the chain stands on already keeps what it has.

        Parameters
        ----------
        key : str
            The chain.
        bracket : int
            Its bracket.
        best_by_epoch : dict
            The running best by epoch; a rung takes that of the first epoch at or beyond it.
        """
        for epoch, best in sorted(best_by_epoch.items()):
            riders = self._riders(bracket, epoch)
            if riders is not None:
                riders.setdefault(key, self._sign * best)

    # ------------------------------------------------------------------ Tune tells

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to draw: the bracket of a trial is known beforehand."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial whose running best falls below its rung's cutoff."""
        chain = self._chain_of(trial.trial_id)
        if chain is not None:
            self._record_missed(*chain, result)
        if result[EPOCH] >= self._max_t:
            return str(TrialScheduler.STOP)
        if chain is None:
            return str(TrialScheduler.CONTINUE)
        action = self._decide(*chain, result[EPOCH], result[RUNNING_BEST])
        if action == TrialScheduler.STOP:
            self.stopped.add(trial.trial_id)
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record a trial that ended by itself; its last report may stand on a rung."""
        chain = self._chain_of(trial.trial_id)
        if chain is not None and EPOCH in result and RUNNING_BEST in result:
            self._record_missed(*chain, result)
            self.record(*chain, {result[EPOCH]: result[RUNNING_BEST]})

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to forget: what a trial left on its rungs stays."""

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to forget: what a trial left on its rungs stays."""

    # ------------------------------------------------------------------ rungs

    def _record_missed(self, key: str, bracket: int, result: Mapping[str, Any]) -> None:
        # A checkpoint may be ahead of the study. Its trial went on beyond these epochs, so
        # what was decided there is known.
        report: TrialReport | None = result.get(REPORT)
        if report is not None:
            self.record(key, bracket, dict(enumerate(report.curve[:-1], start=1)))

    def _decide(self, key: str, bracket: int, epoch: int, best: float) -> str:
        if self._stands(key, bracket, epoch):
            return str(TrialScheduler.CONTINUE)
        self._hear_others()
        if self._stands(key, bracket, epoch):
            return str(TrialScheduler.CONTINUE)
        rungs: Any = self._rungs_of(bracket)  # reads nothing of a trial but its id
        return str(rungs.on_result(_Rider(key), epoch, self._sign * best))

    def _hear_others(self) -> None:
        try:
            self.rebuild(self._others())
        except Exception as error:
            if not (is_outage(error) or is_full(error)):
                raise
            if self._hears:
                log.warning("the database is away; ASHA decides by the trials that it knows")
            self._hears = False
        else:
            self._hears = True

    def _stands(self, key: str, bracket: int, epoch: int) -> bool:
        """Whether there is no rung for this epoch, or the chain stands on it already."""
        riders = self._riders(bracket, epoch)
        return riders is None or key in riders

    def _riders(self, bracket: int, epoch: int) -> dict[str, float] | None:
        """Return who stands on the highest rung at or below an epoch."""
        rungs = self._rungs_of(bracket)._rungs  # the highest first
        return next((riders for milestone, riders in rungs if epoch >= milestone), None)

    def _rungs_of(self, bracket: int) -> Any:
        # A study may be resumed with fewer brackets than its trials were given.
        return self._brackets[min(bracket, len(self._brackets) - 1)]


def bracket_of(seed: int, number: int, rungs: list[int]) -> int:
    """Return the bracket of a trial, a function of the study's seed and the trial's number.

    The odds are Ray's: proportional to the exponential of a bracket's number of rungs.

    Parameters
    ----------
    seed, number : int
        The study's base seed and the trial's number.
    rungs : list of int
        Number of rungs of each bracket.
    """
    sizes = np.asarray(rungs, dtype=float)
    odds = np.exp(sizes - sizes.max())
    draw = np.random.default_rng([seed, number, 1])
    return int(draw.choice(len(rungs), p=odds / odds.sum()))


def rung_counts(config: SchedulerConfig, max_epochs: int) -> list[int]:
    """Return the number of rungs of each bracket, as Ray counts them."""
    grace = min(config.grace_period, max_epochs)
    top = np.log(max_epochs / grace) / np.log(config.reduction_factor)
    return [max(int(top - s + 1), 0) for s in range(config.brackets)]
