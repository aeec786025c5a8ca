"""When fresh labels speak for a rollback, and when they are too few or too near to say so."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.evaluation.redrawn import redrawn_interval
from chemprop_hpo.hpo.promotion.decision import Decision
from chemprop_hpo.hpo.promotion.monitoring import FreshError, monitored
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord
from tests.hpo.promotion.made_records import (
    CONFIG,
    TARGETS,
    blocked,
    record,
    rule,
    settings,
    without,
)

FAR = Interval(1.2, 1.0, 1.4)
"""Of a champion whose registered test RMSE is 0.66; 10 % above that is 0.726."""


def watched(
    figure: Interval, rows: int, champion: ModelRecord, config: PromotionConfig = CONFIG
) -> Decision:
    labels = {target.name: rows for target in champion.targets}
    return monitored(FreshError(figure, labels), champion, config)


def test_an_error_far_above_the_registered_one_rolls_back() -> None:
    decision = watched(FAR, 200, record())
    assert decision.allowed
    assert decision.action == "roll back"
    assert decision.reason == (
        "200 molecules have fresh labels; at least 20 are needed for a rollback; "
        "test_rmse of fresh labels is 1.2, that of the test rows 0.66; "
        "more than 10 % above speaks for a rollback; "
        "the interval of the fresh error begins at 1; above 0.726 it speaks for a rollback"
    )


@pytest.mark.parametrize(
    ("value", "low", "reasons"),
    [
        (0.5, 0.4, ["fresh_error", "fresh_interval"]),
        (0.66, 0.6, ["fresh_error", "fresh_interval"]),
        (0.726, 0.7, ["fresh_error", "fresh_interval"]),
        (0.727, 0.7, ["fresh_interval"]),
        (2.0, 0.7259, ["fresh_interval"]),
        (2.0, 0.726, ["fresh_interval"]),
        (2.0, 0.66 * 1.1, ["fresh_interval"]),
        (2.0, 0.7261, []),
    ],
)
def test_the_champion_stays_where_the_interval_holds_the_bound(
    value: float, low: float, reasons: list[str]
) -> None:
    assert blocked(watched(Interval(value, low, 3.0), 100, record())) == reasons


@pytest.mark.parametrize(("rows", "kept"), [(0, True), (1, True), (19, True), (20, False)])
def test_few_rows_never_roll_back(rows: int, kept: bool) -> None:
    decision = watched(FAR, rows, record())
    assert decision.allowed is not kept
    assert blocked(decision) == (["fresh_rows"] if kept else [])


def test_one_row_has_an_interval_of_no_width_and_still_does_not_roll_back() -> None:
    fresh = redrawn_interval([9.0], [0.0])
    assert fresh == Interval(9.0, 9.0, 9.0)
    assert blocked(watched(fresh, 1, record())) == ["fresh_rows"]


def test_both_bounds_are_the_configurations() -> None:
    assert not watched(FAR, 200, record(), settings(max_monitored_regression=0.6)).allowed
    assert not watched(FAR, 200, record(), settings(min_monitored_rows=201)).allowed
    slightly = Interval(0.7, 0.67, 0.75)
    assert watched(slightly, 200, record(), settings(max_monitored_regression=0.0)).allowed


@pytest.mark.parametrize("fresh", [(math.nan,) * 3, (1.0, math.nan, math.nan), (math.inf,) * 3])
def test_an_error_that_is_not_known_never_rolls_back(fresh: tuple[float, ...]) -> None:
    decision = watched(Interval(*fresh), 100, record())
    assert blocked(decision) == ["fresh_error"]
    json.dumps(decision.as_dict(), allow_nan=False)


def test_a_champion_without_a_registered_error_is_never_rolled_back() -> None:
    decision = watched(FAR, 100, without("test_rmse"))
    assert blocked(decision) == ["registered_error"]
    assert decision.reason == (
        "test_rmse is not logged, so that the fresh error has nothing to be compared with"
    )


def test_of_a_classification_the_pairs_in_the_wrong_order_are_compared() -> None:
    # The registered ROC-AUC is 0.9: 10 % of the pairs are wrong, and up to 11 % are tolerated.
    bad = watched(Interval(0.8, 0.75, 0.88), 100, record("classes"))
    assert bad.allowed
    assert rule(bad, "fresh_interval").figure == pytest.approx(0.12)
    assert "1 - test_roc_auc of fresh labels is 0.2, that of the test rows 0.1" in bad.reason
    unsure = watched(Interval(0.8, 0.7, 0.895), 100, record("classes"))
    assert blocked(unsure) == ["fresh_interval"]


def test_of_several_targets_errors_are_shares_of_the_training_deviations() -> None:
    # The registered NRMSE is (1.0 / 2 + 0.25 / 0.5) / 2.
    decision = watched(Interval(0.6, 0.56, 0.7), 100, record("several"))
    assert decision.allowed
    assert rule(decision, "fresh_error").bound == pytest.approx(0.55)
    assert not decision.blocked
    first, second = TARGETS["several"]
    unknown = replace(record("several"), targets=(first, replace(second, label_std=None)))
    assert blocked(watched(FAR, 100, unknown)) == ["registered_error"]


def test_fresh_labels_of_some_targets_are_compared_with_the_test_rows_of_these() -> None:
    # Of a alone the test rows say 0.9 / 2, of b alone 0.3 / 0.5.
    metrics = {"test_rmse/a": 0.9, "test_transformed_rmse/b": 0.3}
    champion = record("several", metrics=metrics)
    fresh = Interval(0.58, 0.55, 0.6)
    of_a, of_b = (monitored(FreshError(fresh, {name: 50}), champion, CONFIG) for name in "ab")
    assert of_a.allowed
    assert blocked(of_b) == ["fresh_error", "fresh_interval"]
    assert rule(of_b, "fresh_error").bound == pytest.approx(0.66)


def test_fresh_labels_of_one_class_column_are_compared_with_its_own_area() -> None:
    targets = (JudgedTarget("a"), JudgedTarget("b"))
    metrics = {"test_roc_auc/a": 0.95, "test_roc_auc/b": 0.85}
    champion = record("classes", metrics=metrics, targets=targets)
    fresh = Interval(0.88, 0.86, 0.9)
    of_a, of_b = (monitored(FreshError(fresh, {name: 50}), champion, CONFIG) for name in "ab")
    assert of_a.allowed
    assert not of_b.allowed


def test_a_target_that_was_never_tested_does_not_roll_back() -> None:
    champion = without("test_rmse/a", "several")
    decision = monitored(FreshError(FAR, {"a": 50}), champion, CONFIG)
    assert blocked(decision) == ["registered_error"]
    left_out = {"a": "no fresh label"}
    none = monitored(FreshError(FAR, {}, left_out), champion, CONFIG)
    assert blocked(none) == ["fresh_targets"]
    assert none.reason == "no target can be compared; left out: a (no fresh label)"


def _drifted(drift: float, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(7)
    labels = random.normal(size=rows)
    fresh = redrawn_interval(labels + random.normal(drift, 0.66, size=rows), labels)
    return {"figure": fresh, "rows": rows}


def test_labels_like_the_test_rows_keep_the_champion_and_a_drift_rolls_it_back() -> None:
    assert not watched(**_drifted(0.0, 300), champion=record()).allowed
    assert watched(**_drifted(1.0, 300), champion=record()).allowed
