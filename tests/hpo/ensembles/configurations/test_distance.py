"""How far two configurations are from each other, after Gower."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemprop_hpo.configs.parameters import Choice, Fixed, IntRange, LogUniform, Uniform
from chemprop_hpo.hpo.ensembles.configurations.distance import distance

SPACE = {
    "dropout": Uniform(type="uniform", low=0.0, high=0.4),
    "max_lr": LogUniform(type="loguniform", low=1e-4, high=1e-2),
    "depth": IntRange(type="randint", low=2, high=6),
    "ffn_type": Choice(type="choice", choices=["regression", "branched"]),
    "trunk_n_layers": IntRange(type="randint", low=1, high=3),
    "batch_size": Fixed(type="fixed", value=32),
}
PLAIN = {"dropout": 0.1, "max_lr": 1e-3, "depth": 3, "ffn_type": "regression"}
BRANCHED = PLAIN | {"ffn_type": "branched", "trunk_n_layers": 2}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"dropout": 0.2}, 0.25),
        ({"max_lr": 1e-2}, 0.5),  # on the logarithm
        ({"depth": 6}, 0.75),
        ({"ffn_type": "branched"}, 1.0),
        ({}, 0.0),
    ],
)
def test_a_parameter_counts_by_its_share_of_the_range(
    change: dict[str, object], difference: float
) -> None:
    assert distance(PLAIN, PLAIN | change, SPACE) == pytest.approx(difference / 4)


def test_a_parameter_that_only_one_has_is_wholly_different() -> None:
    assert distance(PLAIN, BRANCHED, SPACE) == pytest.approx(2 / 5)


def test_what_neither_has_does_not_count() -> None:
    space = {"depth": SPACE["depth"], "trunk_n_layers": SPACE["trunk_n_layers"]}
    assert distance({"depth": 2}, {"depth": 6}, space) == 1.0
    assert distance({}, {}, space) == 0.0


def test_values_outside_a_range_that_was_narrowed_are_at_most_one_apart() -> None:
    assert distance({"depth": 2}, {"depth": 60}, {"depth": SPACE["depth"]}) == 1.0


ONE_VALUE = {
    "batch_size": (SPACE["batch_size"], 32),
    "dropout": (Uniform(type="uniform", low=0.2, high=0.2), 0.2),
    "max_lr": (LogUniform(type="loguniform", low=1e-3, high=1e-3), 1e-3),
    "message_hidden_dim": (IntRange(type="randint", low=300, high=300), 300),
    "ffn_type": (Choice(type="choice", choices=["branched"]), "branched"),
}


@pytest.mark.parametrize("name", ONE_VALUE)
def test_a_parameter_of_one_value_does_not_dilute_the_others(name: str) -> None:
    parameter, value = ONE_VALUE[name]
    space = {"depth": SPACE["depth"], name: parameter}
    assert distance({"depth": 2, name: value}, {"depth": 4, name: value}, space) == 0.5
    assert distance({name: value}, {name: value}, space) == 0.0


@pytest.mark.parametrize("name", ONE_VALUE)
def test_a_parameter_of_one_value_counts_where_only_one_has_it(name: str) -> None:
    parameter, value = ONE_VALUE[name]
    space = {"depth": SPACE["depth"], name: parameter}
    assert distance({"depth": 2, name: value}, {"depth": 4}, space) == 0.75


def test_values_from_before_a_range_was_narrowed_to_one_differ() -> None:
    space = {"depth": SPACE["depth"], "dropout": ONE_VALUE["dropout"][0]}
    one, other = {"depth": 2, "dropout": 0.2}, {"depth": 2, "dropout": 0.1}
    assert distance(one, other, space) == 0.5


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "dropout": st.floats(0.0, 0.4),
        "max_lr": st.floats(1e-4, 1e-2),
        "depth": st.integers(2, 6),
        "ffn_type": st.sampled_from(["regression", "branched"]),
    },
    optional={"trunk_n_layers": st.integers(1, 3)},
)


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_it_is_the_same_both_ways_between_zero_and_one(
    one: dict[str, object], other: dict[str, object]
) -> None:
    there = distance(one, other, SPACE)
    assert 0.0 <= there <= 1.0
    assert there == distance(other, one, SPACE)
    assert distance(one, one, SPACE) == 0.0
