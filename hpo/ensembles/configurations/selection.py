"""Choose the configurations of an ensemble, and say why each trial was taken or passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.parameters import Parameter
from chemprop_hpo.hpo.ensembles.configurations.distance import distance
from chemprop_hpo.hpo.evaluation.bounds import at_least, at_most, least_fit
from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["RULES", "Decision", "Limits", "Rule", "select_trials"]

Rule = Literal["best", "stable", "diverse"]
RULES: tuple[Rule, ...] = get_args(Rule)

Verdicts = Iterator[tuple[TrialRecord, str | None, str]]
"""Trial, why it is passed over (None if it is taken), and its value in words."""


@dataclass(frozen=True)
class Limits:
    """What the rules ``stable`` and ``diverse`` demand.

    Attributes
    ----------
    gap : float
        Largest generalisation gap of a stable trial, in the units of the trial's own gap.
    r2_tolerance : float
        Share of the best validation R2 that a stable trial may lack.
    distance : float
        Least distance of a diverse trial from each that was taken before it, 0 to 1.
    """

    gap: float
    r2_tolerance: float = 0.05
    distance: float = 0.15


@dataclass(frozen=True)
class Decision:
    """Whether a trial is taken: ``rank`` counts from 1, and is None where it is passed over."""

    trial: TrialRecord
    rank: int | None
    reason: str

    @property
    def taken(self) -> bool:
        """Whether the trial's configuration is trained."""
        return self.rank is not None


def select_trials(
    ranked: Sequence[TrialRecord],
    k: int,
    rule: Rule,
    limits: Limits,
    space: Mapping[str, Parameter],
) -> list[Decision]:
    """Take ``k`` trials with different hyperparameters.

    ``best`` takes the best values. ``stable`` takes the lowest validation RMSE (of several
    targets: NRMSE; of a classification, the best values) among trials whose generalisation gap
    and validation R2 (ROC-AUC) are within ``limits``. ``diverse`` takes the best values that are
    far enough from each other.

    Parameters
    ----------
    ranked : sequence of TrialRecord
        Complete trials, the best first.
    k : int
        How many to take.
    rule : {"best", "stable", "diverse"}
    limits : Limits
    space : mapping
        The searched parameters, by which ``diverse`` measures.

    Returns
    -------
    list of Decision
        Taken trials by rank, each trial that was looked at and passed over among them. Trials
        behind the last that was taken are not looked at.

    Raises
    ------
    UsageError
        If fewer than ``k`` trials satisfy the rule.
    """
    verdicts = {
        "best": lambda: _best(ranked),
        "stable": lambda: _stable(ranked, limits),
        "diverse": lambda: _diverse(ranked, limits, space),
    }[rule]()
    decisions: list[Decision] = []
    taken = 0
    for trial, passed_over, words in verdicts:
        taken += passed_over is None
        rank = taken if passed_over is None else None
        decisions.append(Decision(trial, rank, passed_over or words))
        if taken == k:
            return decisions
    raise UsageError(_too_few(taken, k, rule, decisions))


def _best(ranked: Sequence[TrialRecord]) -> Verdicts:
    for trial, twin in _with_twins(ranked):
        yield trial, _repeats(twin), f"value {trial.value:.4g}, the next best"


def _stable(ranked: Sequence[TrialRecord], limits: Limits) -> Verdicts:
    judged, fit = _judged(ranked)
    best_fit = max((t.metrics[fit] for t in judged if fit in t.metrics), default=0.0)
    least = least_fit(best_fit, limits.r2_tolerance)
    for trial, twin in _with_twins(judged):
        passed_over = _repeats(twin) or _unstable(trial, limits.gap, fit, least)
        yield trial, passed_over, _figures(trial, fit)


def _diverse(
    ranked: Sequence[TrialRecord], limits: Limits, space: Mapping[str, Parameter]
) -> Verdicts:
    chosen: list[TrialRecord] = []
    for trial, twin in _with_twins(ranked):
        distances = [(distance(trial.params, other.params, space), other) for other in chosen]
        near, nearest = min(distances, key=lambda pair: pair[0], default=(1.0, trial))
        passed_over = _repeats(twin)
        if passed_over is None and near < limits.distance:
            passed_over = f"{near:.2f} from trial {nearest.number}, less than {limits.distance:g}"
        if passed_over is None:
            chosen.append(trial)
        far = f", {near:.2f} from trial {nearest.number}" if nearest is not trial else ""
        yield trial, passed_over, f"value {trial.value:.4g}{far}"


# ----------------------------------------------------------------------------- what they look at


def _with_twins(
    ranked: Sequence[TrialRecord],
) -> Iterator[tuple[TrialRecord, TrialRecord | None]]:
    """Yield each trial with an earlier one of the same hyperparameters, if there is one."""
    for i, trial in enumerate(ranked):
        yield trial, next((t for t in ranked[:i] if t.params == trial.params), None)


def _repeats(twin: TrialRecord | None) -> str | None:
    return None if twin is None else f"the same hyperparameters as trial {twin.number}"


def _error(trial: TrialRecord) -> float | None:
    several = trial.metrics.get("val_nrmse")
    return trial.metrics.get("val_rmse") if several is None else several


def _judged(ranked: Sequence[TrialRecord]) -> tuple[list[TrialRecord], str]:
    """Return the trials in the order in which they are stable, and what tells how well each fits.

    A classification has no error, and is judged by its values and its ROC-AUC.
    """
    with_error = [trial for trial in ranked if _error(trial) is not None]
    if with_error:
        return sorted(with_error, key=lambda t: (_error(t), t.number)), "val_r2"
    with_area = [trial for trial in ranked if "val_roc_auc" in trial.metrics]
    if with_area:
        return with_area, "val_roc_auc"
    raise UsageError(
        "--select stable needs trials with a validation RMSE or ROC-AUC; "
        "choose --select best or diverse"
    )


def _unstable(trial: TrialRecord, most_gap: float, fit: str, least: float) -> str | None:
    gap, found = trial.metrics.get("generalisation_gap"), trial.metrics.get(fit)
    if gap is None or found is None:
        return f"its generalisation gap or {fit} is not known"
    if not at_most(gap, most_gap):
        return f"generalisation gap {gap:.3g}, more than {most_gap:.3g}"
    if not at_least(found, least):
        return f"{fit} {found:.3g}, less than {least:.3g}"
    return None


def _figures(trial: TrialRecord, fit: str) -> str:
    error = _error(trial)
    first = f"value {trial.value:.4g}" if error is None else f"validation error {error:.4g}"
    gap, found = trial.metrics.get("generalisation_gap", 0.0), trial.metrics.get(fit, 0.0)
    return f"{first}, gap {gap:.3g}, {fit} {found:.3g}"


def _too_few(found: int, k: int, rule: Rule, decisions: Sequence[Decision]) -> str:
    fewer = "ask for fewer with --top-k, or " if k > 1 else ""
    advice = {
        "best": "let the sweep go on",
        "stable": "raise promotion.max_generalisation_gap or promotion.val_r2_tolerance",
        "diverse": "lower --min-distance",
    }[rule]
    passed = [f"trial {d.trial.number}: {d.reason}" for d in decisions if not d.taken]
    why = f" ({'; '.join(passed[:5])})" if passed else ""
    trials = "trial" if found == 1 else "trials"
    return (
        f"{found} complete {trials} with different hyperparameters can be taken by "
        f"--select {rule}, fewer than the {k} asked for{why}; {fewer}{advice}"
    )
