"""Which targets fresh labels are compared on, and why others are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chemprop_hpo.hpo.promotion.fresh_figures import fresh_error
from chemprop_hpo.hpo.promotion.monitoring import FreshError, monitored
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord
from tests.hpo.promotion.made_records import CONFIG, TARGETS, blocked, record, rule

NAN = np.nan
SEVERAL = record("several")
"""Its registered NRMSE is (1.0 / 2 + 0.25 / 0.5) / 2."""
CLASSES = record(
    "classes",
    metrics={"test_roc_auc/a": 0.95, "test_roc_auc/b": 0.85},
    targets=(JudgedTarget("a"), JudgedTarget("b")),
)


def off_by(a: float, b: float, rows: int = 40, rows_of_b: int = 40) -> FreshError:
    """Return the error where each label of a target is off by as much."""
    labels = np.zeros((rows, 2))
    labels[rows_of_b:, 1] = NAN
    return fresh_error(np.tile([a, b], (rows, 1)), labels, ["a", "b"], SEVERAL, 20)


def test_targets_with_enough_labels_are_compared_together() -> None:
    fresh = off_by(1.2, 0.35)
    assert fresh.labels == {"a": 40, "b": 40}
    assert fresh.figure.value == pytest.approx((0.6 + 0.7) / 2)
    assert monitored(fresh, SEVERAL, CONFIG).allowed


def test_a_target_without_labels_is_left_out_of_both_sides() -> None:
    # a's error is the registered one; over both targets it would be far above.
    champion = replace(SEVERAL, metrics={**SEVERAL.metrics, "test_transformed_rmse/b": 0.05})
    fresh = fresh_error(
        np.full((40, 2), 1.0), np.tile([0.0, NAN], (40, 1)), ["a", "b"], champion, 20
    )
    assert (fresh.labels, fresh.left_out) == ({"a": 40}, {"b": "no fresh label that is predicted"})
    decision = monitored(fresh, champion, CONFIG)
    assert blocked(decision) == ["fresh_error", "fresh_interval"]
    assert rule(decision, "fresh_error").bound == pytest.approx(0.55)
    assert rule(decision, "fresh_targets").text == (
        "compared: a; left out: b (no fresh label that is predicted)"
    )


def test_one_label_that_is_far_off_does_not_speak_for_its_target() -> None:
    fresh = off_by(1.0, 100.0, rows_of_b=1)
    assert fresh.labels == {"a": 40}
    assert fresh.left_out == {"b": "1 fresh label, and at least 20 are needed"}
    assert not monitored(fresh, SEVERAL, CONFIG).allowed


@pytest.mark.parametrize(("rows_of_b", "left_out"), [(19, ["b"]), (20, [])])
def test_each_target_needs_as_many_labels(rows_of_b: int, left_out: list[str]) -> None:
    assert list(off_by(1.0, 0.25, rows_of_b=rows_of_b).left_out) == left_out


def test_where_no_target_has_enough_labels_all_are_shown_and_none_speaks() -> None:
    fresh = off_by(9.0, 9.0, rows=15, rows_of_b=3)
    assert (fresh.labels, fresh.rows, fresh.left_out) == ({"a": 15, "b": 3}, 3, {})
    decision = monitored(fresh, SEVERAL, CONFIG)
    assert blocked(decision) == ["fresh_rows"]
    assert "each target has fresh labels of 3 molecules or more" in decision.reason


def test_a_target_that_was_never_tested_does_not_block_the_others() -> None:
    first, second = TARGETS["several"]
    champion = replace(SEVERAL, targets=(first, replace(second, tested=False)))
    fresh = fresh_error(np.full((40, 2), 2.0), np.zeros((40, 2)), ["a", "b"], champion, 20)
    assert fresh.labels == {"a": 40}
    assert "figures on the test rows are not defined" in fresh.left_out["b"]
    assert monitored(fresh, champion, CONFIG).allowed


@pytest.mark.parametrize("std", [None, NAN, 0.0])
def test_a_target_without_a_scale_is_left_out_and_says_so(std: float | None) -> None:
    first, second = TARGETS["several"]
    champion = replace(SEVERAL, targets=(first, replace(second, label_std=std)))
    fresh = fresh_error(np.full((40, 2), 2.0), np.zeros((40, 2)), ["a", "b"], champion, 20)
    assert fresh.labels == {"a": 40}
    assert fresh.left_out == {
        "b": "the standard deviation of the training labels of b is not logged"
    }


def test_without_any_target_nothing_is_rolled_back() -> None:
    first, second = (replace(target, tested=False) for target in TARGETS["several"])
    champion = replace(SEVERAL, targets=(first, second))
    fresh = fresh_error(np.full((40, 2), 9.0), np.zeros((40, 2)), ["a", "b"], champion, 20)
    assert fresh.labels == {}
    decision = monitored(fresh, champion, CONFIG)
    assert blocked(decision) == ["fresh_targets"]
    assert decision.reason.startswith("no target can be compared; left out: a (its figures")


def test_a_single_target_is_compared_in_its_own_units() -> None:
    fresh = fresh_error(np.full((40, 1), 1.5), np.zeros((40, 1)), ["y"], record(), 20)
    assert (fresh.figure.value, fresh.labels, fresh.left_out) == (1.5, {"y": 40}, {})


def classes(champion: ModelRecord = CLASSES, **columns: list[float]) -> FreshError:
    labels = np.array(list(columns.values())).T
    wrong_way_round = np.where(labels == 1, 0.1, 0.9)
    return fresh_error(wrong_way_round, labels, list(columns), champion, 20)


def test_areas_of_several_classes_are_compared_by_their_mean() -> None:
    fresh = classes(a=[0.0, 1.0] * 20, b=[1.0, 0.0] * 20)
    assert (fresh.figure.value, fresh.labels) == (0.0, {"a": 40, "b": 40})
    decision = monitored(fresh, CLASSES, CONFIG)
    assert decision.allowed
    assert rule(decision, "fresh_error").bound == pytest.approx(0.11)


@pytest.mark.parametrize(
    ("of_the_rarer_class", "left_out"),
    [
        (0, "0 fresh labels of the rarer"),
        (1, "1 fresh label of the rarer"),
        (4, "4 fresh"),
        (5, ""),
    ],
)
def test_few_molecules_of_one_class_define_no_area(of_the_rarer_class: int, left_out: str) -> None:
    column = [0.0] * of_the_rarer_class + [1.0] * 30 + [NAN] * (10 - of_the_rarer_class)
    fresh = classes(a=[0.0, 1.0] * 20, b=column)
    assert fresh.left_out.get("b", "").startswith(left_out)
    assert ("b" in fresh.labels) is (of_the_rarer_class == 5)


def test_a_column_of_one_class_is_left_out_of_both_sides() -> None:
    fresh = classes(a=[0.0, 1.0] * 20, b=[1.0] * 40)
    assert fresh.labels == {"a": 40}
    assert rule(monitored(fresh, CLASSES, CONFIG), "fresh_error").bound == pytest.approx(0.055)


def test_a_label_without_a_prediction_does_not_count() -> None:
    predictions = np.array([[1.0], [NAN], [1.0]])
    fresh = fresh_error(predictions, np.zeros((3, 1)), ["y"], record(), 2)
    assert fresh.labels == {"y": 2}
