"""The space: one define-by-run function, in which untaken branches leave nothing behind."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.search.space import Space


def space_of(search_space: dict[str, Any], **sections: Any) -> Space:
    return Space.of(config_of(search_space, **sections))


def config_of(search_space: dict[str, Any], **sections: Any) -> SweepConfig:
    data = {"file": "x.csv", "target_cols": ["y"]}
    return SweepConfig.model_validate({"data": data, "search_space": search_space, **sections})


def draws(space: Space, n: int = 60) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(n)]


HEADS = {"type": "choice", "choices": ["regression", "branched", "mixture_of_experts"]}


@pytest.mark.parametrize(
    ("parameter", "fits"),
    [
        ({"type": "uniform", "low": 0.0, "high": 0.4}, lambda v: 0 <= v <= 0.4),
        (
            {"type": "uniform", "low": 0.0, "high": 0.4, "step": 0.1},
            lambda v: round(v, 6) in {0.0, 0.1, 0.2, 0.3, 0.4},
        ),
        (
            {"type": "uniform", "low": 0.0, "high": 0.45, "q": 0.2},
            lambda v: round(v, 6) in {0.0, 0.2, 0.4},
        ),
        ({"type": "choice", "choices": [0.0, 0.25]}, lambda v: v in {0.0, 0.25}),
        ({"type": "fixed", "value": 0.15}, lambda v: v == 0.15),
    ],
)
def test_every_float_kind_stays_inside_its_values(parameter: dict[str, Any], fits: Any) -> None:
    values = [point["dropout"] for point in draws(space_of({"dropout": parameter}))]
    assert all(fits(v) for v in values)


def test_loguniform_is_uniform_in_the_logarithm() -> None:
    space = space_of({"max_lr": {"type": "loguniform", "low": 1e-5, "high": 1e-1}})
    values = [point["max_lr"] for point in draws(space, 200)]
    below_middle = sum(v < 1e-3 for v in values) / len(values)
    assert 0.4 < below_middle < 0.6


def test_randint_takes_both_ends() -> None:
    space = space_of({"depth": {"type": "randint", "low": 2, "high": 4}})
    assert {point["depth"] for point in draws(space)} == {2, 3, 4}


def test_randint_with_a_step_stops_at_the_last_whole_one() -> None:
    space = space_of({"depth": {"type": "randint", "low": 2, "high": 7, "step": 2}})
    assert {point["depth"] for point in draws(space)} == {2, 4, 6}


def test_untaken_branches_leave_no_parameter_behind() -> None:
    space = space_of(
        {
            "ffn_type": HEADS,
            "n_experts": {
                "type": "randint",
                "low": 2,
                "high": 8,
                "condition": "ffn_type == 'mixture_of_experts'",
            },
            "trunk_n_layers": {
                "type": "randint",
                "low": 1,
                "high": 3,
                "condition": "ffn_type == 'branched'",
            },
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(40):
        trial = study.ask()
        values = space.suggest(trial)
        assert trial.params == values
        assert ("n_experts" in values) == (values["ffn_type"] == "mixture_of_experts")
        assert ("trunk_n_layers" in values) == (values["ffn_type"] == "branched")


def test_conditions_chain_whatever_their_order_in_the_file() -> None:
    space = space_of(
        {
            "trunk_hidden_dim": {
                "type": "choice",
                "choices": [100, 200],
                "condition": "trunk_n_layers >= 2",
            },
            "trunk_n_layers": {
                "type": "randint",
                "low": 1,
                "high": 3,
                "condition": "ffn_type == 'branched'",
            },
            "ffn_type": HEADS,
        }
    )
    for point in draws(space):
        deep = point.get("trunk_n_layers", 0) >= 2
        assert ("trunk_hidden_dim" in point) == deep


def test_conditions_combine_parents() -> None:
    space = space_of(
        {
            "batch_norm": {"type": "choice", "choices": [True, False]},
            "depth": {"type": "randint", "low": 2, "high": 5},
            "dropout": {
                "type": "uniform",
                "low": 0,
                "high": 0.4,
                "condition": "batch_norm == true and depth > 3",
            },
        }
    )
    for point in draws(space):
        assert ("dropout" in point) == (point["batch_norm"] and point["depth"] > 3)


# --------------------------------------------------------------------------- continuations


WIDE = {
    "depth": {"type": "randint", "low": 2, "high": 6},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
    "max_lr": {"type": "loguniform", "low": 1e-5, "high": 1e-2},
    "ffn_type": HEADS,
    "n_experts": {
        "type": "randint",
        "low": 2,
        "high": 8,
        "condition": "ffn_type == 'mixture_of_experts'",
    },
}
FAR = {"depth": 6, "dropout": 0.39, "max_lr": 9e-3, "ffn_type": "mixture_of_experts"}
FAR = FAR | {"n_experts": 8}


def edited(**changes: Any) -> Space:
    """Return the wide space with other parameters; None takes one out."""
    return space_of({k: v for k, v in (WIDE | changes).items() if v is not None})


def begun(params: dict[str, Any] = FAR) -> Study:
    """Return a study with a trial that has begun to be trained."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=1))
    for point in (params, {"depth": 2}, {"depth": 3}):
        study.enqueue_trial(point)
    space = space_of(WIDE)
    first = study.ask()
    space.suggest(first)
    first.set_user_attr("checkpoint", "trials/00000")
    for value in (0.2, 0.3):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, value)
    return study


def continued(study: Study, **attributes: Any) -> Trial:
    """Let a trial go on with the first one, as the next driver does."""
    first = study.get_trials(deepcopy=False)[0]
    attributes = {"continues": 0, "checkpoint": "trials/00000"} | attributes
    params = first.system_attrs.get("fixed_params", {}) | first.params
    given = {name: value for name, value in attributes.items() if value is not None}
    study.enqueue_trial(params, user_attrs=given)
    study.tell(0, state=TrialState.FAIL)
    return study.ask()


@pytest.mark.parametrize(
    "space",
    [
        pytest.param(edited(), id="the same space"),
        pytest.param(
            edited(
                depth={"type": "randint", "low": 2, "high": 3},
                dropout={"type": "uniform", "low": 0.0, "high": 0.1},
                max_lr={"type": "loguniform", "low": 1e-5, "high": 1e-4},
            ),
            id="narrower ranges",
        ),
        pytest.param(
            edited(dropout={"type": "uniform", "low": 0.0, "high": 0.4, "step": 0.1}),
            id="a step",
        ),
        pytest.param(edited(n_experts=None, max_lr=None), id="fewer parameters"),
        pytest.param(
            edited(weight_decay={"type": "uniform", "low": 0.0, "high": 0.1}),
            id="a new parameter",
        ),
        pytest.param(
            edited(
                n_experts={
                    "type": "randint",
                    "low": 2,
                    "high": 8,
                    "condition": "ffn_type == 'branched'",
                }
            ),
            id="another condition",
        ),
    ],
)
def test_a_continuation_keeps_its_values_whatever_the_space_is_by_now(space: Space) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = begun()
        trial = continued(study)
        assert space.suggest(trial) == FAR
    assert trial.params == FAR
    assert study.trials[-1].distributions == study.trials[0].distributions


def test_a_continuation_of_a_continuation_keeps_them_too() -> None:
    study = begun()
    narrow = edited(depth={"type": "randint", "low": 2, "high": 3})
    second = continued(study)
    narrow.suggest(second)
    study.enqueue_trial(second.params, user_attrs={"continues": 3, "checkpoint": "trials/00000"})
    study.tell(second, state=TrialState.FAIL)
    assert narrow.suggest(study.ask()) == FAR


def test_a_trial_whose_driver_died_while_it_was_asked_is_asked_for_the_rest() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    half = study.ask()
    half.suggest_int("depth", 2, 6)
    trial = continued(study, checkpoint=None)
    params = space_of(WIDE).suggest(trial)
    assert params["depth"] == half.params["depth"]
    assert {"dropout", "max_lr", "ffn_type"} <= params.keys()


def test_a_point_that_waited_while_its_range_became_narrower_is_kept_without_a_warning() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(FAR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = edited(depth={"type": "randint", "low": 2, "high": 3}).suggest(study.ask())
    assert params == FAR


# --------------------------------------------------------------------------- finite spaces


def test_points_of_a_conditional_space_are_each_listed_once() -> None:
    space = space_of(
        {
            "ffn_type": {"type": "choice", "choices": ["regression", "mixture_of_experts"]},
            "n_experts": {
                "type": "randint",
                "low": 2,
                "high": 4,
                "condition": "ffn_type == 'mixture_of_experts'",
            },
            "depth": {"type": "choice", "choices": [2, 3]},
        }
    )
    points = list(space.points())
    assert len(points) == space.size() == (1 + 3) * 2
    assert len({tuple(sorted(p.items())) for p in points}) == len(points)


def test_a_continuous_space_has_no_points() -> None:
    space = space_of({"max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}})
    assert space.size() is None
    with pytest.raises(SpaceError, match="max_lr"):
        list(space.points())


def test_the_tree_shows_each_conditional_below_its_parent() -> None:
    space = space_of(
        {
            "depth": {"type": "randint", "low": 2, "high": 6},
            "ffn_type": HEADS,
            "n_experts": {
                "type": "randint",
                "low": 2,
                "high": 8,
                "condition": "ffn_type == 'mixture_of_experts'",
            },
        }
    )
    assert space.tree().splitlines() == [
        "depth goes from 2 to 6",
        "ffn_type is one of 'regression', 'branched', 'mixture_of_experts'",
        "  n_experts goes from 2 to 8, if ffn_type == 'mixture_of_experts'",
    ]
    assert "2 branches" in space.describe_size()
