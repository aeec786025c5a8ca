"""What holds for all records, whatever their figures."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.promotion.eligibility import eligible
from chemprop_hpo.hpo.promotion.policy import promotable
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord, Provenance
from tests.hpo.promotion.made_records import CONFIG, METRICS, TARGETS, record

errors = st.floats(1e-3, 1e3)
shares = st.floats(1e-4, 10)
worse_by = st.floats(1.001, 10)
any_number = st.one_of(st.floats(), st.integers(-3, 3).map(float))
kinds = st.sampled_from(sorted(METRICS))
configs = st.builds(
    PromotionConfig,
    min_test_rmse_improvement=st.floats(0, 0.99),
    max_test_mae_regression=st.floats(0, 5),
    val_r2_tolerance=st.floats(0, 5),
    max_generalisation_gap=st.floats(1e-3, 10),
    allow_dirty=st.booleans(),
    min_probability=st.none() | st.floats(0.01, 1),
)


@st.composite
def records(draw: st.DrawFn) -> ModelRecord:
    """Draw a record in which anything may be missing or no number."""
    of = draw(kinds)
    names = [*METRICS[of], "something_else"]
    targets = tuple(
        replace(target, label_std=draw(st.none() | st.floats()), tested=draw(st.booleans()))
        for target in TARGETS[of]
    )
    return record(
        of,
        metrics=draw(st.dictionaries(st.sampled_from(names), any_number)),
        targets=targets,
        completed=draw(st.booleans()),
        provenance=draw(
            st.builds(
                Provenance,
                seed=st.none() | st.integers(),
                hyperparameters=st.none() | st.dictionaries(st.text(max_size=3), st.integers()),
                git_commit=st.none() | st.text(max_size=3),
                dirty=st.none() | st.booleans(),
                dataset=st.none() | st.text(max_size=3),
            )
        ),
        test_set=draw(st.none() | st.sampled_from(["a", "b"])),
    )


@given(records(), st.none() | records(), configs, st.none() | st.floats(0, 1))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_decision_is_made_in_words_and_strict_json(
    candidate: ModelRecord,
    champion: ModelRecord | None,
    config: PromotionConfig,
    probability: float | None,
) -> None:
    decision = promotable(candidate, champion, config, probability)
    assert json.loads(json.dumps(decision.as_dict(), allow_nan=False)) == decision.as_dict()
    assert decision.allowed is all(outcome.passed for outcome in decision.rules)
    names = [outcome.name for outcome in decision.rules]
    assert len(names) == len(set(names))
    for outcome in decision.rules:
        assert outcome.text
        assert "\n" not in outcome.text


@given(records(), st.none() | records(), configs)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_nothing_is_promoted_that_is_not_eligible(
    candidate: ModelRecord, champion: ModelRecord | None, config: PromotionConfig
) -> None:
    if promotable(candidate, champion, config).allowed:
        assert eligible(candidate, config).allowed
        assert candidate.provenance.dirty is False or config.allow_dirty


@given(errors, errors, st.floats(-2, 1), worse_by, configs)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_candidate_that_is_worse_in_every_figure_is_never_promoted(
    rmse: float, mae: float, r2: float, factor: float, config: PromotionConfig
) -> None:
    theirs = {"test_rmse": rmse, "test_mae": mae, "val_r2": r2}
    ours = {
        "test_rmse": rmse * factor,
        "test_mae": mae * factor,
        "val_r2": r2 - abs(r2) * (factor - 1) - 1e-3,
    }
    decision = promotable(record(metrics=ours), record(metrics=theirs), config, 1.0)
    assert not decision.allowed
    assert "test_rmse" in {outcome.name for outcome in decision.blocked}


@given(errors, errors, st.floats(-2, 1), errors, st.floats(1e-3, 0.9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_promoted_is_promoted_as_well_if_it_were_better_still(
    rmse: float, mae: float, r2: float, theirs: float, factor: float
) -> None:
    champion = record(metrics={"test_rmse": theirs, "test_mae": theirs, "val_r2": 0.5})
    ours = {"test_rmse": rmse, "test_mae": mae, "val_r2": r2}
    better = {"test_rmse": rmse * factor, "test_mae": mae * factor, "val_r2": r2 + factor}
    if promotable(record(metrics=ours), champion, CONFIG).allowed:
        assert promotable(record(metrics=better), champion, CONFIG).allowed


@given(errors, errors, st.floats(0, 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_two_models_cannot_each_replace_the_other(
    first: float, second: float, improvement: float
) -> None:
    config = PromotionConfig(min_test_rmse_improvement=0.001 + 0.9 * improvement)
    one, other = (record(metrics={"test_rmse": rmse}) for rmse in (first, second))
    both = [promotable(one, other, config).allowed, promotable(other, one, config).allowed]
    assert both != [True, True]


@given(errors, errors, st.floats(1e-6, 1e6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_units_do_not_matter(ours: float, theirs: float, unit: float) -> None:
    def decided(scale: float) -> tuple[bool, ...]:
        target = JudgedTarget("y", label_std=2.0 * scale)
        sides = [
            record(
                targets=(target,),
                metrics={
                    "test_rmse": rmse * scale,
                    "test_mae": 2 * rmse * scale,
                    "generalisation_gap": 0.3 * scale,
                },
            )
            for rmse in (ours, theirs)
        ]
        return tuple(outcome.passed for outcome in promotable(*sides, CONFIG).rules)

    # At a bound itself, rounding in another unit may fall to the other side.
    share = (theirs - ours) / theirs
    if min(abs(share - 0.01), abs(share + 0.05)) > 1e-6:
        assert decided(unit) == decided(1.0)


@given(records(), records())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_decision_does_not_depend_on_the_order_of_metrics_and_targets(
    candidate: ModelRecord, champion: ModelRecord
) -> None:
    def turned(of: ModelRecord) -> ModelRecord:
        metrics = dict(reversed(of.metrics.items()))
        return replace(of, metrics=metrics, targets=of.targets[::-1])

    first = promotable(candidate, champion, CONFIG)
    second = promotable(turned(candidate), turned(champion), CONFIG)
    assert first.allowed is second.allowed
    passed = {outcome.name: outcome.passed for outcome in first.rules}
    assert passed == {outcome.name: outcome.passed for outcome in second.rules}


@given(shares, shares)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_blocked_share_never_reads_like_its_bound(better: float, asked: float) -> None:
    asked = min(asked, 0.9)
    if not math.isclose(better, asked, rel_tol=1e-6) and better < asked:
        config = PromotionConfig(min_test_rmse_improvement=asked)
        candidate = record(metrics={"test_rmse": 1 - better})
        decision = promotable(candidate, record(metrics={"test_rmse": 1.0}), config)
        text = next(each.text for each in decision.blocked if each.name == "test_rmse")
        found, wanted = text.split(" is ", 1)[1].split("; at least ")
        assert found.split(" %")[0] != wanted.split(" %")[0]
