"""The trials that TPE looks at: all of a study, or of a large one the best and the latest."""

from __future__ import annotations

import copy
import math
from bisect import insort
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from optuna import Study
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["BEST", "WINDOW", "History", "Window"]

WINDOW = 5000
"""How many finished trials TPE looks at."""

BEST = 25
"""As many trials at most does TPE call good, however large the study is."""

_OF_USE = (TrialState.COMPLETE, TrialState.PRUNED)


class History:
    """The finished trials of a study as far as TPE needs them, each read once.

    What it holds depends on the study's trials alone, and not on when they were read.

    Parameters
    ----------
    study : Study
        Of one metric.
    size : int
        How many finished trials a window has at most.
    """

    def __init__(self, study: Study, size: int) -> None:
        self.study = study
        self.branches = _SearchSpaceGroup()
        """The parameters that are asked for together."""
        self._firsts: dict[frozenset[str], FrozenTrial] = {}
        self._size = size
        self._sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        self._best: list[tuple[Any, ...]] = []
        self._latest: list[FrozenTrial] = []
        self._settled = 0
        self._read: set[int] = set()

    def window(self) -> Window:
        """Return the trials to look at now: of the finished ones a part, and all that run."""
        trials = self.study._get_trials(deepcopy=False, use_cache=True)
        running = self._take_in(trials)
        best = [entry[-1] for entry in self._best]
        numbers = {trial.number for trial in best}
        others = [trial for trial in self._latest if trial.number not in numbers]
        kept = others[max(0, len(others) - (self._size - len(best))) :]
        return Window(self.study, best, kept, running, self.branches)

    def _take_in(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Read what has finished since the last time; return the trials that run."""
        running = []
        # All before `_settled` have ended and were read; a trial stands at its number.
        for trial in trials[self._settled :]:
            if trial.state == TrialState.RUNNING:
                running.append(trial)
            elif trial.state in _OF_USE and trial.number not in self._read:
                self._add(trial)
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            self._read.discard(trials[self._settled].number)
            self._settled += 1
        return running

    def _add(self, trial: FrozenTrial) -> None:
        self._read.add(trial.number)
        self._learn_branch(trial)
        insort(self._best, (*_rank(trial, self._sign), trial.number, trial))
        del self._best[BEST:]
        insort(self._latest, trial, key=lambda one: one.number)
        del self._latest[: -self._size]

    def _learn_branch(self, trial: FrozenTrial) -> None:
        # In which order groups are split decides which random numbers each gets.
        names = frozenset(trial.distributions)
        if names in self._firsts and self._firsts[names].number < trial.number:
            return
        self._firsts[names] = trial
        self.branches = _SearchSpaceGroup()
        for first in sorted(self._firsts.values(), key=lambda one: one.number):
            self.branches.add_distributions(first.distributions)


class Window:
    """A study of which a sampler sees a part of the trials; all else is the study's own.

    Parameters
    ----------
    study : Study
        All of it.
    best, others : sequence of FrozenTrial
        Finished trials: the best ones, the best first, and others.
    running : sequence of FrozenTrial
        Those without an end.
    branches : _SearchSpaceGroup
        The parameters that are asked for together.
    """

    def __init__(
        self,
        study: Study,
        best: Sequence[FrozenTrial],
        others: Sequence[FrozenTrial],
        running: Sequence[FrozenTrial],
        branches: _SearchSpaceGroup,
    ) -> None:
        self.branches = branches
        self._study = study
        self._best, self._others, self._running = best, others, running

    def split(
        self, gamma: Callable[[int], int], but: int
    ) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the good trials and all others, by number; running ones are not good.

        Parameters
        ----------
        gamma : callable
            How many of so many finished trials are good; at most `BEST`.
        but : int
            The number of a trial to be left out.
        """
        good = gamma(len(self._best) + len(self._others))
        running = [trial for trial in self._running if trial.number != but]
        others = [*self._best[good:], *self._others, *running]
        return _by_number(self._best[:good]), _by_number(others)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        seen = _by_number([*self._best, *self._others, *self._running])
        found = [trial for trial in seen if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


def _by_number(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    return sorted(trials, key=lambda trial: trial.number)


def _rank(trial: FrozenTrial, sign: float) -> tuple[int, float, float]:
    """Return where TPE ranks a trial: complete ones first, then those that came furthest."""
    violated = sum(amount for amount in trial.constraints.values() if amount > 0)
    if violated > 0:
        return 2, violated, 0.0
    if trial.state == TrialState.COMPLETE:
        return 0, sign * (trial.value or 0.0), 0.0
    if not trial.intermediate_values:
        return 1, 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1, -step, math.inf if math.isnan(value) else sign * value
