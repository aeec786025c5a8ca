from __future__ import annotations

import pytest

from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import Choice, Fixed, IntRange, LogUniform, SweepConfig, Uniform
from chemprop_hpo.configs.space import base_point, contains, grid_values, sampling_order


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Uniform(low=0, high=0.3), [0, 0.0, 0.123, 0.3], [-0.1, 0.31, "0.1", True]),
        (Uniform(low=0, high=0.3, step=0.1), [0.1, 0.2, 0.3], [0.15]),
        (LogUniform(low=1e-4, high=1e-2), [1e-4, 1e-3, 1e-2], [0, 0.1]),
        (IntRange(low=2, high=6, step=2), [2, 4, 6, 4.0], [3, 7, 0]),
        (Choice(choices=(1, "a", 2.5)), [1, "a", 2.5], [2, "1", True]),
        (Choice(choices=(True, False)), [True, False], [1, 0]),
        (Fixed(value="x"), ["x"], ["y"]),
    ],
)
def test_a_parameter_knows_the_values_it_can_take(parameter, inside, outside):
    assert all(contains(parameter, value) for value in inside)
    assert not any(contains(parameter, value) for value in outside)


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Uniform(low=0, high=0.3, step=0.1), (0.0, 0.1, 0.2, 0.3)),
        (Uniform(low=0, high=0.35, step=0.1), (0.0, 0.1, 0.2, 0.3)),
        (Uniform(low=0.2, high=0.2), (0.2,)),
        (Uniform(low=0, high=0.3), None),
        (LogUniform(low=1e-4, high=1e-2), None),
        (IntRange(low=2, high=6), (2, 3, 4, 5, 6)),
        (IntRange(low=2, high=7, step=2), (2, 4, 6)),
        (Choice(choices=("b", "a")), ("b", "a")),
        (Fixed(value=3), (3,)),
    ],
)
def test_a_grid_lists_every_value_once(parameter, values):
    assert grid_values(parameter) == values
    assert all(contains(parameter, value) for value in values or ())


SPACE = {
    "n_experts": IntRange(low=2, high=4, condition="ffn_type == 'mixture_of_experts'"),
    "trunk_hidden_dim": Choice(choices=(100, 300), condition="trunk_n_layers > 1"),
    "trunk_n_layers": IntRange(low=1, high=3, condition="ffn_type == 'branched'"),
    "ffn_type": Choice(choices=("regression", "branched", "mixture_of_experts")),
    "depth": Fixed(value=5),
}


def test_a_parameter_is_sampled_after_those_its_condition_names():
    order = sampling_order(SPACE)
    assert set(order) == set(SPACE)
    assert order.index("ffn_type") < order.index("trunk_n_layers") < order.index("trunk_hidden_dim")


def test_a_circle_has_no_order():
    space = {
        "a": Fixed(value=1, condition="b == 1"),
        "b": Fixed(value=1, condition="a == 1"),
    }
    with pytest.raises(SpaceError, match="circle"):
        sampling_order(space)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, {"ffn_type": "regression", "depth": 5}),
        (
            {"ffn_type": "branched"},
            {"ffn_type": "branched", "depth": 5, "trunk_n_layers": 2, "trunk_hidden_dim": 300},
        ),
        (
            {"ffn_type": "branched", "trunk_n_layers": 1},
            {"ffn_type": "branched", "depth": 5, "trunk_n_layers": 1},
        ),
    ],
)
def test_the_base_is_a_point_without_untaken_branches(model, expected):
    values = {"data": {"target_cols": ["y"]}, "model": model, "search_space": SPACE}
    assert base_point(SweepConfig.model_validate(values)) == expected
