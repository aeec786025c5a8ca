"""Each comparison with the champion just inside, at and just outside its bound."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from chemprop_hpo.hpo.promotion.policy import promotable
from tests.hpo.promotion.made_records import (
    CONFIG,
    METRICS,
    TARGETS,
    blocked,
    champion,
    record,
    rule,
    settings,
    without,
)

KINDS = sorted(METRICS)
NAN = math.nan


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize(
    ("of", "name", "theirs", "ours", "passes"),
    [
        ("one", "test_rmse", 0.8, 0.791, True),
        ("one", "test_rmse", 0.8, 0.792, True),
        ("one", "test_rmse", 0.7, 0.693, True),  # 0.00999999999999 in floating point
        ("one", "test_rmse", 0.8, 0.7921, False),
        ("one", "test_rmse", 0.8, 0.8, False),
        ("one", "test_rmse", 0.8, 0.9, False),
        ("one", "test_rmse", 0.0, 0.0, False),
        ("one", "test_rmse", 0.8, 0.0, True),
        ("one", "test_mae", 0.5, 0.5249, True),
        ("one", "test_mae", 0.5, 0.525, True),
        ("one", "test_mae", 0.3, 0.315, True),  # 0.05000000000000005
        ("one", "test_mae", 0.5, 0.5251, False),
        ("one", "test_mae", 0.0, 0.0, True),
        ("one", "test_mae", 0.0, 1e-6, False),
        ("one", "val_r2", 0.8, 0.7601, True),
        ("one", "val_r2", 0.8, 0.76, True),
        ("one", "val_r2", 0.8, 0.7599, False),
        ("one", "val_r2", -0.2, -0.21, True),
        ("one", "val_r2", -0.2, -0.2101, False),
        ("one", "val_r2", -0.2, 0.5, True),
        ("one", "val_r2", 1e-6, 0.0, False),
        ("one", "val_r2", 0.0, 0.0, True),
        ("one", "val_r2", 0.0, -1e-3, False),
        ("classes", "test_roc_auc", 0.9, 0.9011, True),
        ("classes", "test_roc_auc", 0.9, 0.901, True),
        ("classes", "test_roc_auc", 0.9, 0.9009, False),
        ("classes", "test_roc_auc", 0.9995, 0.99951, True),
        ("classes", "test_roc_auc", 1.0, 1.0, False),
        ("classes", "test_prc_auc", 0.6, 0.5701, True),
        ("classes", "test_prc_auc", 0.6, 0.57, True),
        ("classes", "test_prc_auc", 0.6, 0.5699, False),
        ("classes", "test_prc_auc", 0.0, 0.0, True),
        ("classes", "val_roc_auc", 0.8, 0.76, True),
        ("classes", "val_roc_auc", 0.8, 0.7599, False),
        ("several", "test_mae/a", 1.0, 1.05, True),
        ("several", "test_mae/a", 1.0, 1.0501, False),
        ("several", "test_mae/b", 100.0, 105.1, False),
    ],
)
def test_a_rule_holds_on_its_bound_and_not_beyond(
    of: str, name: str, theirs: float, ours: float, passes: bool
) -> None:
    decision = promotable(record(of, metrics={name: ours}), champion(of, **{name: theirs}), CONFIG)
    assert rule(decision, name).passed is passes
    assert blocked(decision) == ([] if passes else [name])


@pytest.mark.parametrize(
    ("name", "changed", "metrics"),
    [
        ("test_rmse", {"min_test_rmse_improvement": 0.2}, {}),
        ("test_mae", {"max_test_mae_regression": 0.0}, {"test_mae": 0.601}),
        ("val_r2", {"val_r2_tolerance": 0.0}, {"val_r2": 0.79}),
        ("generalisation_gap", {"max_generalisation_gap": 0.05}, {}),
    ],
)
def test_each_bound_is_the_configurations(
    name: str, changed: dict[str, Any], metrics: dict[str, float]
) -> None:
    candidate = record(metrics=metrics)
    assert promotable(candidate, champion(), CONFIG).allowed
    assert blocked(promotable(candidate, champion(), settings(**changed))) == [name]


def test_where_no_improvement_is_asked_for_equal_errors_pass_and_larger_ones_do_not() -> None:
    config = settings(min_test_rmse_improvement=0.0)
    assert promotable(record(), record(), config).allowed
    nothing = record(metrics={"test_rmse": 0.0})
    assert promotable(nothing, nothing, config).allowed
    assert blocked(promotable(record(), nothing, config)) == ["test_rmse"]


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (0.67, 0.67, "test_rmse 0.67 equals the champion's; at least 1 % better is asked for"),
        (
            0.72,
            0.60,
            "test_rmse 0.72 is 20 % worse than the champion's 0.6; at least 1 % better is asked for",
        ),
        (
            0.660005,
            0.66,
            "test_rmse 0.660005 is 0.00076 % worse than the champion's 0.66; "
            "at least 1 % better is asked for",
        ),
        (
            0.9901,
            1.0,
            "test_rmse 0.99 is 0.99 % better than the champion's 1; at least 1 % is asked for",
        ),
        (
            0.99000001,
            1.0,
            "test_rmse 0.99 is 0.999999 % better than the champion's 1; at least 1 % is asked for",
        ),
        (0.1, 0.0, "the champion's test_rmse is 0; nothing can be better"),
    ],
)
def test_what_blocks_never_looks_like_its_bound(ours: float, theirs: float, text: str) -> None:
    decision = promotable(record(metrics={"test_rmse": ours}), champion(test_rmse=theirs), CONFIG)
    assert [outcome.text for outcome in decision.blocked] == [text]


def test_an_error_where_the_champion_has_none_is_worse_by_no_share() -> None:
    decision = promotable(record(), champion(test_mae=0.0), CONFIG)
    outcome = rule(decision, "test_mae")
    assert not outcome.passed
    assert outcome.figure is None
    assert outcome.text == ("test_mae 0.5 is worse than the champion's 0; at most 5 % is tolerated")


# ------------------------------------------------------------------ missing figures


@pytest.mark.parametrize("of", KINDS)
def test_each_missing_figure_of_the_candidate_is_named(of: str) -> None:
    whole = promotable(record(of), champion(of), CONFIG)
    compared = {outcome.name for outcome in whole.rules} & set(METRICS[of])
    assert len(compared) >= 3
    for name in compared - {"test_nrmse"}:
        decision = promotable(without(name, of), champion(of), CONFIG)
        assert not rule(decision, name).passed
        assert rule(decision, name).figure is None
        assert f"{name} is not logged" in rule(decision, name).text


@pytest.mark.parametrize("value", [None, NAN, math.inf, -1.0])
@pytest.mark.parametrize("name", ["test_rmse", "test_mae"])
def test_a_champion_without_a_usable_figure_blocks(name: str, value: float | None) -> None:
    metrics = {key: number for key, number in METRICS["one"].items() if key != name}
    theirs = replace(record(), metrics=metrics if value is None else metrics | {name: value})
    decision = promotable(record(), theirs, settings(min_test_rmse_improvement=0.0))
    assert blocked(decision) == [name]
    shown = "not logged" if value is None else f"{value:g}"
    assert decision.blocked[0].text == (
        f"of the champion {name} is {shown}, so that nothing can be compared"
    )


# ------------------------------------------------------------------ comparable at all


@pytest.mark.parametrize(
    ("changed", "name", "text"),
    [
        (
            {"test_set": "f" * 64},
            "same_test_set",
            "test set: tttttttttttt, the champion's: ffffffffffff; "
            "their figures cannot be compared",
        ),
        (
            {"test_set": None},
            "same_test_set",
            "test set: tttttttttttt, the champion's: not known; their figures cannot be compared",
        ),
        (
            {"targets": (replace(TARGETS["one"][0], name="z"),)},
            "same_targets",
            "targets: y, the champion's: z; their figures cannot be compared",
        ),
        (
            {"task": "classification"},
            "same_task",
            "task: regression, the champion's: classification; their figures cannot be compared",
        ),
    ],
)
def test_figures_that_mean_something_else_are_not_compared(
    changed: dict[str, Any], name: str, text: str
) -> None:
    decision = promotable(record(), replace(champion(), **changed), CONFIG)
    assert blocked(decision) == [name]
    assert rule(decision, name).text == text
    assert not {"test_rmse", "test_mae", "val_r2"} & {each.name for each in decision.rules}


def test_two_models_without_a_known_test_set_are_blocked() -> None:
    decision = promotable(record(test_set=None), replace(champion(), test_set=None), CONFIG)
    assert blocked(decision) == ["test_set", "same_test_set"]


def test_an_nrmse_is_not_compared_across_transforms_but_an_rmse_is() -> None:
    first, second = TARGETS["several"]
    other = (first, replace(second, transform="log10p1"))
    decision = promotable(record("several"), replace(champion("several"), targets=other), CONFIG)
    assert blocked(decision) == ["same_targets"]
    one = (replace(TARGETS["one"][0], transform="log10"),)
    assert promotable(record(), replace(champion(), targets=one), CONFIG).allowed


# ------------------------------------------------------------------ several targets


def test_the_order_of_targets_does_not_matter() -> None:
    turned = record("several", targets=TARGETS["several"][::-1])
    assert promotable(turned, champion("several"), CONFIG).allowed


def test_more_varied_training_labels_are_no_improvement() -> None:
    # The same errors, divided by twice the standard deviation: half the NRMSE.
    wider = tuple(
        replace(target, label_std=2 * (target.label_std or 0)) for target in TARGETS["several"]
    )
    candidate = record("several", targets=wider, metrics={"test_nrmse": 0.25})
    decision = promotable(candidate, record("several", "1"), CONFIG)
    assert blocked(decision) == ["test_nrmse"]
    assert rule(decision, "test_nrmse").figure == 0.0


def test_errors_of_several_targets_are_shares_of_the_champions_deviations() -> None:
    # (1.0 / 2 + 0.25 / 0.5) / 2 against (1.0 / 2 + 0.15 / 0.5) / 2
    metrics = {"test_transformed_rmse/b": 0.15}
    decision = promotable(record("several", metrics=metrics), record("several", "1"), CONFIG)
    assert decision.allowed
    assert rule(decision, "test_nrmse").figure == pytest.approx(0.2)


@pytest.mark.parametrize("std", [None, 0.0, NAN])
def test_a_champion_without_deviations_of_its_labels_is_named(std: float | None) -> None:
    first, second = TARGETS["several"]
    theirs = replace(champion("several"), targets=(first, replace(second, label_std=std)))
    decision = promotable(record("several"), theirs, CONFIG)
    assert blocked(decision) == ["test_nrmse"]
    assert "the standard deviation of the training labels of b is not logged" in decision.reason


def test_a_target_that_the_test_set_does_not_hold_blocks_nothing() -> None:
    first, second = TARGETS["several"]
    untested = (first, replace(second, tested=False))
    metrics = {
        name: x for name, x in METRICS["several"].items() if "test_" not in name or "/b" not in name
    }
    candidate = replace(record("several"), targets=untested, metrics=metrics)
    theirs = replace(champion("several"), targets=untested)
    decision = promotable(candidate, theirs, CONFIG)
    assert decision.allowed
    assert "test_mae/b" not in {outcome.name for outcome in decision.rules}
