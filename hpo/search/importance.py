"""How much each searched parameter decided whether a trial became one of the best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna import Study, create_study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

__all__ = [
    "LEAST_COMPLETE",
    "LEAST_TRIALS",
    "Importance",
    "Importances",
    "count_top",
    "importances",
]

LEAST_COMPLETE, LEAST_TRIALS = 10, 20
"""With fewer complete trials, or fewer that count at all, nothing is said."""

SHUFFLES = 40
CHANCE = 0.95


@dataclass(frozen=True)
class Importance:
    """What a parameter counts, and what it would count by chance.

    Attributes
    ----------
    share : float
        Its part of the importance of all parameters together, from 0 to 1.
    by_chance : float
        In the same unit, what it stays below in 95 of 100 studies whose best trials were drawn
        by lot among these trials.
    """

    share: float
    by_chance: float


@dataclass(frozen=True)
class Importances:
    """The importances of a study's parameters, the most important first.

    Attributes
    ----------
    by_name : mapping of str to Importance
        Empty where they are not known.
    complete, stopped : int
        The trials that counted: those trained to their end, and those stopped before.
    reason : str
        Why they are not known; empty where they are.
    """

    by_name: Mapping[str, Importance] = field(default_factory=dict)
    complete: int = 0
    stopped: int = 0
    reason: str = ""


def count_top(complete: int) -> int:
    """Return how many of so many complete trials are the top: a tenth, but five at least."""
    return min(complete, max(5, math.ceil(complete / 10)))


def importances(study: Study, names: Collection[str], *, seed: int = 0) -> Importances:
    """Return the importances of parameters by PED-ANOVA.

    A parameter is important where its values among the top trials are distributed otherwise
    than among all trials [1]_. A parameter that is searched only on some branch is judged on
    that branch alone, and weighed by how many of the trials and of the top took it [2]_; the
    choice of the branch itself counts for the parameter that decides it. The reference is what
    was sampled, not the whole space: that a sampler prefers some values counts for nothing, and
    a parameter that it hardly varied cannot show its importance.

    Complete trials and those that the scheduler stopped count. The latter are never of the top,
    as they are the worse ones to the sampler too. Failed and continued trials are left out, and
    so are values that are not finite.

    Parameters
    ----------
    study : optuna.Study
        Of one metric.
    names : collection of str
        The parameters to judge; those that no trial has are left out.
    seed : int
        Of the lots that say what comes about by chance.

    References
    ----------
    .. [1] Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter
       Importance in Arbitrary Subspaces", IJCAI 2023, https://arxiv.org/abs/2304.10255
    .. [2] "Conditional PED-ANOVA: Hyperparameter Importance in Hierarchical & Dynamic Search
       Spaces", KDD 2026, https://arxiv.org/abs/2601.20800
    """
    complete = _ranked(study)
    stopped = _stopped(study)
    counted = (len(complete), len(stopped))
    if len(complete) < LEAST_COMPLETE or sum(counted) < LEAST_TRIALS:
        return Importances({}, *counted, _too_few(*counted))
    trials = [*complete, *stopped]
    judge = _Judge.of(trials, names, count_top(len(complete)))
    found = judge.evaluate(range(len(trials)))
    whole = sum(found.values())
    if not whole > 0:
        return Importances({}, *counted, "the top trials do not differ from the others")
    limits = _by_chance(judge, len(trials), seed)
    by_name = {name: Importance(found[name] / whole, limits[name] / whole) for name in found}
    ordered = dict(sorted(by_name.items(), key=lambda item: (-item[1].share, item[0])))
    return Importances(ordered, *counted)


# ----------------------------------------------------------------------------- the trials


def _ranked(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, the best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    valued = [(sign * t.value, t) for t in complete if t.value is not None]
    finite = [(loss, t) for loss, t in valued if math.isfinite(loss)]
    return [t for _, t in sorted(finite, key=lambda pair: (pair[0], pair[1].number))]


def _stopped(study: Study) -> list[FrozenTrial]:
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [trial for trial in pruned if trial.user_attrs.get("continued_by") is None]


# ----------------------------------------------------------------------------- the method


@dataclass(frozen=True)
class _Judge:
    """Trials, all of them as complete ones, whose ranks are given from outside."""

    study: Study
    names: list[str]
    evaluator: PedAnovaImportanceEvaluator

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], names: Collection[str], top: int) -> _Judge:
        study = create_study()
        study.add_trials(
            create_trial(params=params, distributions=_wide_enough(t, params), value=0.0)
            for t in trials
            for params in (dict(t.params),)
        )
        there = sorted(name for name in names if any(name in t.params for t in trials))
        # Half a trial less: a quantile is rounded up.
        return cls(
            study, there, PedAnovaImportanceEvaluator(target_quantile=(top - 0.5) / len(trials))
        )

    def evaluate(self, ranks: Sequence[int]) -> dict[str, float]:
        """Return what each parameter has to do with the ranks, 0 the best."""
        with warnings.catch_warnings():
            # It warns that low targets count as good, and of branches that one trial took.
            warnings.simplefilter("ignore")
            return self.evaluator.evaluate(
                self.study, self.names, target=lambda trial: float(ranks[trial.number])
            )


def _wide_enough(trial: FrozenTrial, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return the trial's distributions; a range that became narrower is widened to its value."""
    return {name: _with(trial.distributions[name], value) for name, value in params.items()}


def _with(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return distribution
    low, high = min(distribution.low, value), max(distribution.high, value)
    kind: Any = type(distribution)
    wider: BaseDistribution = kind(low, high, log=distribution.log, step=distribution.step)
    return wider


def _by_chance(judge: _Judge, n: int, seed: int) -> dict[str, float]:
    """Return what the importance of each parameter stays below if ``n`` ranks are drawn by lot."""
    rng = np.random.default_rng(seed)
    drawn = [judge.evaluate(rng.permutation(n).tolist()) for _ in range(SHUFFLES)]
    return {name: float(np.quantile([one[name] for one in drawn], CHANCE)) for name in judge.names}


def _too_few(complete: int, stopped: int) -> str:
    return (
        f"there are {complete} complete trials and {stopped} that were stopped, and "
        f"{LEAST_TRIALS} are needed, {LEAST_COMPLETE} of them complete"
    )
