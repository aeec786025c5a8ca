"""What must be so before a model is registered."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chemprop_hpo.hpo.promotion.eligibility import eligible
from tests.hpo.promotion.made_records import (
    CONFIG,
    METRICS,
    TARGETS,
    blocked,
    record,
    rule,
    settings,
    without,
)

NEEDED = {
    "one": ("best_val_rmse", "test_rmse", "test_mae", "test_r2"),
    "several": ("val_nrmse", "test_nrmse", "test_mae/a", "test_mae/b", "test_r2"),
    "classes": ("val_roc_auc", "test_roc_auc", "test_prc_auc"),
}
EACH = [(of, name) for of, names in NEEDED.items() for name in names]


@pytest.mark.parametrize("of", sorted(METRICS))
def test_a_complete_model_with_all_figures_is_eligible(of: str) -> None:
    decision = eligible(record(of), CONFIG)
    assert decision.allowed
    assert decision.action == "register"


@pytest.mark.parametrize("of", sorted(METRICS))
def test_no_other_figure_is_needed(of: str) -> None:
    needed = (*NEEDED[of], "generalisation_gap")
    metrics = {name: value for name, value in METRICS[of].items() if name in needed}
    assert eligible(replace(record(of), metrics=metrics), CONFIG).allowed


@pytest.mark.parametrize(("of", "name"), EACH)
def test_each_missing_figure_is_named(of: str, name: str) -> None:
    decision = eligible(without(name, of), CONFIG)
    assert blocked(decision) == ["metrics"]
    assert decision.reason == f"{name} is not logged; finite figures are needed"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("of", "name"), EACH)
def test_a_figure_that_is_no_number_is_named_with_what_it_is(
    of: str, name: str, value: float
) -> None:
    decision = eligible(record(of, metrics={name: value}), CONFIG)
    assert blocked(decision) == ["metrics"]
    assert f"{name} is {value:g}" in decision.reason


@pytest.mark.parametrize(
    ("of", "name", "value"),
    [
        ("one", "test_rmse", -0.1),
        ("one", "best_val_rmse", -0.1),
        ("several", "test_mae/a", -1e-9),
        ("classes", "test_roc_auc", 1.01),
        ("classes", "test_prc_auc", -0.01),
    ],
)
def test_a_figure_that_cannot_be_is_not_taken(of: str, name: str, value: float) -> None:
    decision = eligible(record(of, metrics={name: value}), CONFIG)
    assert decision.reason == f"{name} is {value:g}; finite figures are needed"


def test_a_model_worse_than_the_mean_label_is_still_logged() -> None:
    assert eligible(record(metrics={"test_r2": -3.0, "test_rmse": 0.0}), CONFIG).allowed


def test_several_missing_figures_stand_in_one_line() -> None:
    decision = eligible(record(metrics={"test_r2": math.nan, "test_mae": math.inf}), CONFIG)
    assert decision.reason == "test_mae is inf, test_r2 is nan; finite figures are needed"
    assert (rule(decision, "metrics").figure, rule(decision, "metrics").bound) == (2, 4)


def test_a_training_that_was_cut_short_is_not_eligible() -> None:
    decision = eligible(record(completed=False), CONFIG)
    assert blocked(decision) == ["completed"]
    assert decision.reason == "the training is not complete"


@pytest.mark.parametrize(
    ("of", "gap", "passes"),
    [
        ("one", 0.4999, True),
        ("one", 0.5, True),  # a quarter of 2.0
        ("one", 0.5001, False),
        ("one", -3.0, True),
        ("several", 0.25, True),
        ("several", 0.1 + 0.15 + 1e-17, True),
        ("several", 0.2501, False),
        ("classes", 0.25, True),
        ("classes", 0.2501, False),
    ],
)
def test_a_gap_is_measured_in_training_deviations(of: str, gap: float, passes: bool) -> None:
    decision = eligible(record(of, metrics={"generalisation_gap": gap}), CONFIG)
    assert decision.allowed is passes


def test_a_gap_at_a_bound_that_rounding_misses_is_on_it() -> None:
    target = replace(TARGETS["one"][0], label_std=0.3)
    candidate = record(metrics={"generalisation_gap": 0.1 * 3}, targets=(target,))
    outcome = rule(eligible(candidate, settings(max_generalisation_gap=1.0)), "generalisation_gap")
    assert outcome.figure != 1.0
    assert outcome.passed


def test_too_large_a_gap_says_its_figure_and_its_bound() -> None:
    decision = eligible(record(metrics={"generalisation_gap": 0.62}), CONFIG)
    assert decision.reason == (
        "generalisation_gap 0.62 is 0.31 training standard deviations; at most 0.25 is allowed"
    )
    decision = eligible(record(metrics={"generalisation_gap": 0.500002}), CONFIG)
    assert "is 0.250001 training standard deviations; at most 0.25 is" in decision.reason


def test_the_gap_of_a_classification_is_in_nats() -> None:
    decision = eligible(record("classes", metrics={"generalisation_gap": 0.4}), CONFIG)
    assert decision.reason == (
        "generalisation_gap 0.4 is 0.4 nats of cross-entropy; at most 0.25 is allowed"
    )


def test_a_gap_beyond_all_numbers_blocks() -> None:
    target = replace(TARGETS["one"][0], label_std=1e-300)
    candidate = record(targets=(target,), metrics={"generalisation_gap": 1e300})
    outcome = rule(eligible(candidate, CONFIG), "generalisation_gap")
    assert not outcome.passed
    assert outcome.figure is None


@pytest.mark.parametrize("gap", [None, math.nan])
def test_a_gap_that_is_not_known_blocks(gap: float | None) -> None:
    name = "generalisation_gap"
    candidate = without(name) if gap is None else record(metrics={name: gap})
    decision = eligible(candidate, CONFIG)
    assert blocked(decision) == [name]
    shown = "not logged" if gap is None else "nan"
    assert decision.reason == (
        f"generalisation_gap is {shown}; at most 0.25 training standard deviations is allowed"
    )


@pytest.mark.parametrize("std", [None, 0.0, -1.0, math.nan, math.inf])
def test_a_gap_without_its_unit_blocks(std: float | None) -> None:
    target = replace(TARGETS["one"][0], label_std=std)
    decision = eligible(record(targets=(target,)), CONFIG)
    assert blocked(decision) == ["generalisation_gap"]
    assert "the standard deviation of the training labels is not logged" in decision.reason


def test_a_record_without_targets_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="the record of 2 has no target"):
        record(targets=())
