"""Importances: what decides stands first, branches are judged alone, and little is not judged."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from chemprop_hpo.hpo.search import importance
from chemprop_hpo.hpo.search.importance import count_top, importances

HEAD = CategoricalDistribution(("plain", "branched"))
UNIT = FloatDistribution(0.0, 1.0)


@pytest.fixture(autouse=True)
def few_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "SHUFFLES", 4)


def trial(
    params: dict[str, Any],
    value: float | None,
    state: TrialState = TrialState.COMPLETE,
    **more: Any,
) -> FrozenTrial:
    distributions = {name: HEAD if name == "head" else UNIT for name in params}
    return create_trial(
        params=params, distributions=distributions, value=value, state=state, user_attrs=more
    )


def study_of(trials: list[FrozenTrial], direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    return study


def scrambled(i: int) -> float:
    """Return a value that has nothing to do with ``i``, spread evenly."""
    return (i * 0.6180339887) % 1


def falling(n: int = 30, sign: float = 1.0) -> list[FrozenTrial]:
    """Make trials whose metric is ``x``, while ``y`` does nothing."""
    return [trial({"x": i / n, "y": scrambled(i)}, sign * i / n) for i in range(n)]


def test_the_parameter_that_decides_stands_first_and_beyond_chance() -> None:
    found = importances(study_of(falling()), ["y", "x"])
    assert list(found.by_name) == ["x", "y"]
    assert found.by_name["x"].share > 0.7
    assert found.by_name["x"].share > found.by_name["x"].by_chance
    assert sum(one.share for one in found.by_name.values()) == pytest.approx(1.0)
    assert (found.complete, found.stopped, found.reason) == (30, 0, "")


def test_without_stopped_trials_they_are_those_of_optuna_for_the_same_top() -> None:
    study = study_of(falling())
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=5 / 30)
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    ours = importances(study, ["x", "y"]).by_name
    assert {name: one.share for name, one in ours.items()} == pytest.approx(theirs)


def test_the_direction_of_the_study_says_who_is_at_the_top() -> None:
    down = importances(study_of(falling()), ["x", "y"])
    up = importances(study_of(falling(sign=-1.0), "maximize"), ["x", "y"])
    assert up.by_name == down.by_name


def test_equal_studies_have_equal_importances_and_the_seed_moves_only_chance() -> None:
    study = study_of(falling())
    assert importances(study, ["x", "y"]) == importances(study, ["x", "y"])
    other = importances(study, ["x", "y"], seed=1).by_name
    here = importances(study, ["x", "y"]).by_name
    assert [one.share for one in other.values()] == [one.share for one in here.values()]
    assert other["y"].by_chance != here["y"].by_chance


def test_trials_that_were_stopped_count_as_worse_than_all_that_were_not() -> None:
    # Among the complete trials x decides nothing: the scheduler let no other x through.
    complete = [
        trial({"x": 0.1 + i / 1000, "y": scrambled(i)}, scrambled(3 * i)) for i in range(15)
    ]
    lucky = [
        trial({"x": 0.3 + i / 60, "y": scrambled(i)}, -1.0, TrialState.PRUNED) for i in range(40)
    ]
    alone = importances(study_of(complete + falling(5)), ["x", "y"])
    found = importances(study_of(complete + lucky), ["x", "y"])
    assert alone.stopped == 0
    assert (found.complete, found.stopped) == (15, 40)
    assert found.by_name["x"].share > 0.8


def test_failed_and_continued_trials_and_values_without_meaning_are_left_out() -> None:
    point = {"x": 0.5, "y": 0.5}
    left_out = [
        trial(point, None, TrialState.FAIL),
        trial(point, 0.1, TrialState.PRUNED, continued_by=7),
        trial(point, float("inf")),
    ]
    assert importances(study_of(falling() + left_out), ["x", "y"]) == importances(
        study_of(falling()), ["x", "y"]
    )


def branching(n: int = 60) -> list[FrozenTrial]:
    """Make trials of two heads; on the branch ``z`` decides, and ``y`` nowhere."""
    found = []
    for i in range(n):
        y, z = scrambled(i), scrambled(7 * i)
        params = {"y": y, "head": "branched", "z": z} if i % 2 else {"y": y, "head": "plain"}
        found.append(trial(params, z if i % 2 else 0.5 + y / 1000))
    return found


def test_a_parameter_of_a_branch_is_judged_on_its_branch() -> None:
    found = importances(study_of(branching()), ["head", "y", "z"])
    assert set(found.by_name) == {"head", "y", "z"}
    assert next(iter(found.by_name)) == "z"
    assert found.by_name["head"].share > 0


def test_a_value_outside_a_range_that_became_narrower_counts_as_any_other() -> None:
    narrow = falling()
    narrow[7] = trial({"x": 0.2, "y": 0.5}, 0.2)
    outside = study_of(narrow)
    outside.get_trials(deepcopy=False)[7].params["x"] = 1.4
    assert set(importances(outside, ("x", "y")).by_name) == {"x", "y"}


def test_a_parameter_that_no_trial_has_is_left_out() -> None:
    assert set(importances(study_of(falling()), ["x", "y", "new"]).by_name) == {"x", "y"}


@pytest.mark.parametrize(
    ("complete", "stopped", "known"),
    [(20, 0, True), (10, 10, True), (19, 0, False), (9, 40, False)],
)
def test_few_trials_have_no_importances_and_a_reason(
    complete: int, stopped: int, known: bool
) -> None:
    pruned = [trial({"x": 0.9, "y": scrambled(i)}, 1.0, TrialState.PRUNED) for i in range(stopped)]
    found = importances(study_of(falling(complete) + pruned), ["x", "y"])
    assert bool(found.by_name) == known
    assert (f"{complete} complete trials and {stopped}" in found.reason) == (not known)


def test_trials_that_are_all_the_same_point_have_no_importances() -> None:
    one_point = CategoricalDistribution((0.5,))
    same = [
        create_trial(params={"x": 0.5}, distributions={"x": one_point}, value=float(i))
        for i in range(30)
    ]
    found = importances(study_of(same), ["x"])
    assert not found.by_name
    assert "do not differ" in found.reason


@pytest.mark.parametrize(
    ("complete", "top"), [(0, 0), (3, 3), (5, 5), (50, 5), (51, 6), (100, 10), (101, 11)]
)
def test_the_top_is_a_tenth_but_five_at_least(complete: int, top: int) -> None:
    assert count_top(complete) == top
