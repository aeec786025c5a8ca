"""A decision as a whole: the first champion, what can be trained again, the probability."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from chemprop_hpo.hpo.promotion.policy import promotable
from tests.hpo.promotion.made_records import (
    CONFIG,
    METRICS,
    PROVENANCE,
    blocked,
    champion,
    record,
    rule,
    settings,
)

KINDS = sorted(METRICS)
NAN = math.nan


# ------------------------------------------------------------------ as a whole


@pytest.mark.parametrize("of", KINDS)
def test_a_better_candidate_is_promoted(of: str) -> None:
    decision = promotable(record(of), champion(of), CONFIG)
    assert decision.allowed
    assert decision.action == "promote"
    assert not decision.blocked


@pytest.mark.parametrize("of", KINDS)
def test_a_candidate_that_is_the_champion_is_no_improvement(of: str) -> None:
    (name,) = blocked(promotable(record(of), record(of, "1"), CONFIG))
    assert name in ("test_rmse", "test_nrmse", "test_roc_auc")


@pytest.mark.parametrize("of", KINDS)
def test_the_first_candidate_becomes_champion_and_the_decision_says_by_which_rule(of: str) -> None:
    decision = promotable(record(of), None, CONFIG)
    assert decision.allowed
    assert rule(decision, "first_champion").text == (
        "there is no champion; the first candidate that all other rules let pass becomes it"
    )


@pytest.mark.parametrize(
    ("spoilt", "name"),
    [
        ({"completed": False}, "completed"),
        ({"metrics": {"test_r2": NAN}}, "metrics"),
        ({"metrics": {"generalisation_gap": 0.6}}, "generalisation_gap"),
        ({"provenance": replace(PROVENANCE, seed=None)}, "seed"),
        ({"provenance": replace(PROVENANCE, dirty=True)}, "git_tree"),
        ({"test_set": None}, "test_set"),
    ],
)
def test_the_first_candidate_needs_all_that_is_its_own(spoilt: dict[str, Any], name: str) -> None:
    assert blocked(promotable(record(**spoilt), None, CONFIG)) == [name]


def test_an_ensemble_follows_the_same_rules() -> None:
    ensemble = record(kind="ensemble")
    assert promotable(ensemble, champion(), CONFIG) == promotable(record(), champion(), CONFIG)
    assert promotable(record(), replace(champion(), kind="ensemble"), CONFIG).allowed


def test_several_rules_block_together_and_each_says_why() -> None:
    candidate = record(
        metrics={"test_rmse": 0.671, "test_mae": 0.7, "val_r2": 0.7},
        provenance=replace(PROVENANCE, dirty=True),
    )
    decision = promotable(candidate, champion(test_rmse=0.674), CONFIG)
    assert blocked(decision) == ["git_tree", "test_rmse", "test_mae", "val_r2"]
    assert [outcome.text for outcome in decision.blocked[1:]] == [
        "test_rmse 0.671 is 0.45 % better than the champion's 0.674; at least 1 % is asked for",
        "test_mae 0.7 is 17 % worse than the champion's 0.6; at most 5 % is tolerated",
        "val_r2 is 0.7; at least 0.76 is asked for, the champion's 0.8 less 5 %",
    ]
    assert decision.reason == "; ".join(outcome.text for outcome in decision.blocked)


def test_a_decision_survives_strict_json() -> None:
    candidate = record(metrics={"test_mae": NAN, "test_rmse": math.inf})
    decision = promotable(candidate, champion(test_mae=0.0), CONFIG, probability=NAN)
    kept = json.loads(json.dumps(decision.as_dict(), allow_nan=False))
    assert kept == decision.as_dict()
    assert kept["allowed"] is False
    assert {each["name"] for each in kept["rules"]} == {each.name for each in decision.rules}


# ------------------------------------------------------------------ repeatable


@pytest.mark.parametrize(
    ("spoilt", "text"),
    [
        ({"seed": None}, "the seed is not logged"),
        ({"hyperparameters": None}, "the hyperparameters are not logged"),
        ({"hyperparameters": {}}, "the hyperparameters are not logged"),
        ({"git_commit": None}, "the git commit is not logged"),
        ({"git_commit": ""}, "the git commit is not logged"),
        ({"dataset": None}, "the sha256 of the dataset is not logged"),
        ({"dataset": "\n"}, "the sha256 of the dataset is not logged"),
    ],
)
def test_what_cannot_be_trained_again_is_blocked(spoilt: dict[str, Any], text: str) -> None:
    candidate = record(provenance=replace(PROVENANCE, **spoilt))
    decision = promotable(candidate, champion(), settings(allow_dirty=True))
    assert blocked(decision) == list(spoilt)
    assert decision.reason == f"{text}, without which the model cannot be trained again"


def test_a_break_in_what_was_logged_does_not_break_the_line() -> None:
    candidate = record(provenance=replace(PROVENANCE, git_commit="c0f\nfee\r"))
    decision = promotable(candidate, champion(), CONFIG)
    assert rule(decision, "git_commit").text == "the git commit is logged: c0f fee"


@pytest.mark.parametrize(
    ("dirty", "state"),
    [
        (True, "the code had uncommitted changes"),
        (None, "whether the code had uncommitted changes is not known"),
    ],
)
def test_a_dirty_tree_is_blocked_unless_it_is_allowed(dirty: bool | None, state: str) -> None:
    candidate = record(provenance=replace(PROVENANCE, dirty=dirty))
    decision = promotable(candidate, champion(), CONFIG)
    assert blocked(decision) == ["git_tree"]
    assert decision.reason == (
        f"{state}; commit them and train again, or set promotion.allow_dirty: true"
    )
    allowed = promotable(candidate, champion(), settings(allow_dirty=True))
    assert allowed.allowed
    assert rule(allowed, "git_tree").text == f"{state}; promotion.allow_dirty lets it pass"


def test_the_champions_provenance_does_not_matter() -> None:
    theirs = replace(champion(), provenance=replace(PROVENANCE, seed=None, dirty=True))
    assert promotable(record(), theirs, CONFIG).allowed


# ------------------------------------------------------------------ probability


@pytest.mark.parametrize(
    ("asked", "probability", "passes"),
    [
        (None, 0.01, True),
        (0.9, 0.91, True),
        (0.9, 0.9, True),
        (0.3, 0.1 + 0.2, True),
        (0.9, 0.8999, False),
        (0.9, None, False),
        (0.9, NAN, False),
    ],
)
def test_a_probability_is_asked_for_where_it_is_configured(
    asked: float | None, probability: float | None, passes: bool
) -> None:
    config = settings(min_probability=asked)
    decision = promotable(record(), champion(), config, probability)
    assert blocked(decision) == ([] if passes else ["probability_better"])


def test_a_probability_is_shown_where_none_is_asked_for() -> None:
    decision = promotable(record(), champion(), CONFIG, 0.93)
    outcome = rule(decision, "probability_better")
    assert (outcome.figure, outcome.bound) == (0.93, None)
    assert outcome.text == ("the candidate is better with a probability of 0.93; none is asked for")
    names = {each.name for each in promotable(record(), champion(), CONFIG).rules}
    assert "probability_better" not in names


def test_what_a_probability_leaves_out_stands_beside_it() -> None:
    outcome = rule(promotable(record(), champion(), CONFIG, 0.93, "1 row"), "probability_better")
    assert outcome.text.endswith("with a probability of 0.93; none is asked for; 1 row")
    unknown = promotable(record(), champion(), CONFIG, None, "it was not kept")
    assert unknown.allowed
    assert rule(unknown, "probability_better").text == (
        "the probability that the candidate is better is not known (it was not kept); "
        "none is asked for"
    )


def test_a_missing_probability_says_what_is_asked_for() -> None:
    decision = promotable(record(), champion(), settings(min_probability=0.9))
    assert decision.reason == (
        "the probability that the candidate is better is not known; at least 0.9 is asked for"
    )
