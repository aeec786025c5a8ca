"""Which configurations are taken, and what is said of each trial."""

from __future__ import annotations

import math

import pytest

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.parameters import IntRange
from chemprop_hpo.hpo.ensembles.configurations.selection import (
    Decision,
    Limits,
    Rule,
    select_trials,
)
from chemprop_hpo.storage.trials import TrialRecord
from tests.hpo.ensembles.scenes import trial

SPACE = {"depth": IntRange(type="randint", low=0, high=10)}
LIMITS = Limits(gap=0.3)


def select(
    trials: list[TrialRecord], k: int, rule: Rule = "best", limits: Limits = LIMITS
) -> list[Decision]:
    return select_trials(trials, k, rule, limits, SPACE)


def told(decisions: list[Decision]) -> list[tuple[int, int | None, str]]:
    return [(d.trial.number, d.rank, d.reason) for d in decisions]


def stable(number: int, error: float, gap: float, r2: float, **more: float) -> TrialRecord:
    return trial(number, 1.0, val_rmse=error, generalisation_gap=gap, val_r2=r2, **more)


# ------------------------------------------------------------------ best


def test_best_takes_them_in_order_and_looks_no_further() -> None:
    trials = [trial(4, 0.1), trial(0, 0.2), trial(7, 0.3)]
    assert told(select(trials, 2)) == [
        (4, 1, "value 0.1, the next best"),
        (0, 2, "value 0.2, the next best"),
    ]


def test_a_trial_with_the_same_hyperparameters_is_passed_over() -> None:
    same = {"depth": 3}
    trials = [trial(4, 0.1, same), trial(9, 0.15, same), trial(2, 0.2)]
    assert told(select(trials, 2)) == [
        (4, 1, "value 0.1, the next best"),
        (9, None, "the same hyperparameters as trial 4"),
        (2, 2, "value 0.2, the next best"),
    ]
    assert [d.taken for d in select(trials, 2)] == [True, False, True]


@pytest.mark.parametrize("rule", ["best", "stable", "diverse"])
def test_no_rule_takes_twins(rule: Rule) -> None:
    figures = {"val_rmse": 0.5, "generalisation_gap": 0.0, "val_r2": 0.9}
    trials = [trial(n, 0.1, {"depth": d}, **figures) for n, d in enumerate([0, 0, 9, 9])]
    taken = [d.trial.number for d in select(trials, 2, rule) if d.taken]
    assert taken == [0, 2]


def test_too_few_says_how_many_there_are_why_and_what_to_do() -> None:
    trials = [trial(1, 0.1, {"depth": 3}), trial(2, 0.2, {"depth": 3})]
    with pytest.raises(UsageError) as caught:
        select(trials, 2)
    assert str(caught.value) == (
        "1 complete trial with different hyperparameters can be taken by --select best, fewer "
        "than the 2 asked for (trial 2: the same hyperparameters as trial 1); "
        "ask for fewer with --top-k, or let the sweep go on"
    )


# ------------------------------------------------------------------ stable


def test_stable_takes_the_lowest_error_whatever_the_value() -> None:
    trials = [stable(0, 0.9, 0.1, 0.80), stable(1, 0.7, 0.1, 0.82), stable(2, 0.8, 0.1, 0.81)]
    assert [d.trial.number for d in select(trials, 3, "stable")] == [1, 2, 0]


def test_stable_says_what_each_trial_lacks() -> None:
    trials = [
        stable(0, 0.5, 0.4, 0.90),
        stable(1, 0.6, 0.1, 0.80),
        stable(2, 0.7, 0.2, 0.88),
        trial(3, 0.1, val_rmse=0.65, generalisation_gap=0.1),
    ]
    assert told(select(trials, 1, "stable")) == [
        (0, None, "generalisation gap 0.4, more than 0.3"),
        (1, None, "val_r2 0.8, less than 0.855"),
        (3, None, "its generalisation gap or val_r2 is not known"),
        (2, 1, "validation error 0.7, gap 0.2, val_r2 0.88"),
    ]


def test_what_lies_on_a_limit_is_stable() -> None:
    limits = Limits(gap=0.25, r2_tolerance=0.5)
    trials = [stable(0, 0.5, 0.25, 0.5), stable(1, 0.6, 0.0, 1.0)]
    assert [d.trial.number for d in select(trials, 2, "stable", limits) if d.taken] == [0, 1]


def test_a_best_r2_below_zero_leaves_room_below_itself() -> None:
    trials = [stable(0, 0.5, 0.1, -0.104), stable(1, 0.6, 0.1, -0.1), stable(2, 0.7, 0.1, -0.106)]
    with pytest.raises(UsageError, match=r"trial 2: val_r2 -0\.106, less than -0\.105"):
        select(trials, 3, "stable")


def test_of_several_targets_the_scaled_error_decides() -> None:
    trials = [
        stable(0, 0.1, 0.1, 0.8, val_nrmse=0.9),
        stable(1, 0.9, 0.1, 0.8, val_nrmse=0.5),
    ]
    assert [d.trial.number for d in select(trials, 2, "stable")] == [1, 0]


def test_of_a_classification_stable_takes_the_best_values_within_gap_and_roc_auc() -> None:
    trials = [
        trial(0, 0.3, generalisation_gap=0.4, val_roc_auc=0.9),
        trial(1, 0.4, generalisation_gap=0.1, val_roc_auc=0.8),
        trial(2, 0.5, val_roc_auc=0.9),
        trial(3, 0.6, generalisation_gap=0.2, val_roc_auc=0.86),
    ]
    assert told(select(trials, 1, "stable")) == [
        (0, None, "generalisation gap 0.4, more than 0.3"),
        (1, None, "val_roc_auc 0.8, less than 0.855"),
        (2, None, "its generalisation gap or val_roc_auc is not known"),
        (3, 1, "value 0.6, gap 0.2, val_roc_auc 0.86"),
    ]


def test_stable_without_any_figure_says_what_to_take_instead() -> None:
    with pytest.raises(UsageError, match="or ROC-AUC; choose --select best or diverse"):
        select([trial(0, 0.3)], 1, "stable")


@pytest.mark.parametrize("k", [1, 2])
def test_fewer_are_advised_only_where_more_than_one_are_asked_for(k: int) -> None:
    with pytest.raises(UsageError) as caught:
        select([stable(0, 0.5, 0.9, 0.8)], k, "stable")
    assert ("--top-k" in str(caught.value)) == (k > 1)


def test_too_few_stable_trials_names_the_settings_and_five_reasons() -> None:
    trials = [stable(n, 0.5 + n, 0.9, 0.8) for n in range(7)]
    with pytest.raises(UsageError) as caught:
        select(trials, 1, "stable")
    message = str(caught.value)
    assert message.startswith("0 complete trials with different hyperparameters can be taken")
    assert message.count("generalisation gap 0.9, more than 0.3") == 5
    assert "raise promotion.max_generalisation_gap or promotion.val_r2_tolerance" in message


# ------------------------------------------------------------------ diverse


def test_diverse_passes_over_what_is_near_to_any_taken_before() -> None:
    limits = Limits(gap=math.inf, distance=0.3)
    depths = [5, 7, 2, 3, 9]
    trials = [trial(n, 0.1 + n / 10, {"depth": d}) for n, d in enumerate(depths)]
    assert told(select(trials, 3, "diverse", limits)) == [
        (0, 1, "value 0.1"),
        (1, None, "0.20 from trial 0, less than 0.3"),
        (2, 2, "value 0.3, 0.30 from trial 0"),
        (3, None, "0.10 from trial 2, less than 0.3"),
        (4, 3, "value 0.5, 0.40 from trial 0"),
    ]


def test_distances_are_to_taken_trials_only() -> None:
    # Depth 2 is near to 3, which is passed over for being near to 5.
    trials = [trial(n, 0.1, {"depth": d}) for n, d in enumerate([5, 3, 2])]
    decisions = select(trials, 2, "diverse", Limits(gap=1.0, distance=0.3))
    assert [d.rank for d in decisions] == [1, None, 2]


def test_too_few_diverse_trials_names_the_distance() -> None:
    trials = [trial(n, 0.1, {"depth": n}) for n in range(3)]
    with pytest.raises(UsageError, match="or lower --min-distance"):
        select(trials, 2, "diverse", Limits(gap=1.0, distance=0.9))


def test_a_distance_of_zero_takes_what_best_takes() -> None:
    trials = [trial(n, 0.1 * n, {"depth": n}) for n in range(4)]
    best, diverse = (
        select(trials, 3, "best"),
        select(trials, 3, "diverse", Limits(gap=1.0, distance=0.0)),
    )
    assert [d.trial for d in best] == [d.trial for d in diverse]
