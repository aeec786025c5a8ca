"""The space: one define-by-run function, in which untaken branches leave nothing behind."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

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
