from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("dropuot: {type: uniform, low: 0, high: 0.4}", "dropuot is unknown; did you mean dropout?"),
        ("seed: {type: fixed, value: 1}", "seed cannot be searched; write it under optimization"),
        ("num_workers: {type: fixed, value: 1}", "num_workers cannot be searched; write it under optimization"),
        ("max_epochs: {type: fixed, value: 9}", "max_epochs cannot be searched; write it under optimization"),
        ("depth: {type: randint, low: 6, high: 2}", "depth has low 6 above high 2"),
        ("dropout: {type: uniform, low: 0.4, high: 0.1}", "dropout has low 0.4 above high 0.1"),
        ("max_lr: {type: loguniform, low: 0, high: 1}", "max_lr.low must be above 0, not 0"),
        ("max_lr: {type: loguniform, low: -1, high: 1}", "max_lr.low must be above 0, not -1"),
        ("depth: {type: randint, low: 2, high: 6, step: 5}", "depth has a step of 5, more than its range from 2 to 6"),
        ("dropout: {type: uniform, low: 0, high: 0.4, q: 0.5}", "dropout has a step of 0.5, more than its range from 0.0 to 0.4"),
        ("depth: {type: randint, low: 2, high: 6, step: 0}", "depth.step must be above 0, not 0"),
        ("depth: {type: randint, low: 2, high: 6, step: 1, q: 2}", "depth.q is unknown; known are condition, type, low, high, step"),
        ("depth: {type: choice, choices: []}", "depth.choices is empty; write at least one"),
        ("depth: {type: choice, choices: [2, 3, 2]}", "depth.choices lists 2 twice"),
        ("depth: {type: choice, choices: [2, null]}", "depth.choices.1 must be a number, text or true or false, not null"),
        ("depth: {type: choice, choices: [2, x]}", "depth.choices.1 must be a whole number, not 'x'"),
        ("depth: {type: choice, choices: [2, '3']}", "depth.choices.1 is '3', of another type than depth; write it as depth takes it"),
        ("depth: {type: choice, choices: [2, true]}", "depth.choices.1 must be a number, not true"),
        ("batch_norm: {type: choice, choices: [true, 0]}", "batch_norm.choices.1 is 0, of another type than batch_norm; write it as batch_norm takes it"),
        ("ffn_type: {type: choice, choices: [regression, banched]}", "ffn_type.choices.1 is 'banched'; did you mean branched?"),
        ("molecule_features: {type: choice, choices: [none, charge+rdkit]}", "molecule_features.choices.1 has 'rdkit'; write none, or some of morgan_binary, morgan_count, rdkit_2d, v1_rdkit_2d, v1_rdkit_2d_normalized, charge joined by +"),
        ("dropout: {type: uniform, low: 0, high: 1.5}", "dropout.high must be below 1, not 1.5"),
        ("dropout: {type: uniform, low: -1, high: 0.5}", "dropout.low must be at least 0, not -1"),
        ("n_experts: {type: randint, low: 1, high: 4}", "n_experts.low must be at least 2, not 1"),
        ("depth: {type: uniform, low: 2, high: 6}", "depth.type is uniform, but depth is a whole number; use randint or choice"),
        ("batch_size: {type: loguniform, low: 2, high: 6}", "batch_size.type is loguniform, but batch_size is a whole number; use randint or choice"),
        ("activation: {type: randint, low: 2, high: 6}", "activation.type is randint, but activation is no number; use choice"),
        ("batch_norm: {type: randint, low: 0, high: 1}", "batch_norm.type is randint, but batch_norm is no number; use choice"),
        ("depth: {type: fixed, value: x}", "depth.value must be a whole number, not 'x'"),
        ("depth: {type: normal, low: 1}", "depth has type 'normal'; write one of uniform, loguniform, randint, choice, fixed"),
        ("depth: {low: 1}", "depth has no type; write one of uniform, loguniform, randint, choice, fixed"),
        ("depth: 3", "depth must be a section with keys, not 3"),
        ("depth: {type: randint, low: 2}", "depth.high is missing"),
        ("depth: {type: randint, low: 2, hihg: 3, high: 4}", "depth.hihg is unknown; did you mean high?"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(space_problems, space, expected):
    assert space_problems(space) == [expected]


@pytest.mark.parametrize(
    "space",
    [
        "{depth: {type: randint, low: 3, high: 3}, dropout: {type: uniform, low: 0.1, high: 0.1}}",
        "{gradient_clip: {type: randint, low: 1, high: 5}}",
        "{patience: {type: choice, choices: [5, 10]}}",
        "{dropout: {type: choice, choices: [0, 0.2]}}",
        "{molecule_features: {type: choice, choices: [none, rdkit_2d, charge+morgan_binary]}}",
    ],
)
def test_a_range_of_one_value_and_every_kind_of_hyperparameter_are_taken(load, space):
    load(f"data: {{file: a, target_cols: [y]}}\nbase: false\nsearch_space: {space}")


# ------------------------------------------------------------------------- conditions

HEADS = """
ffn_type: {type: choice, choices: [regression, branched]}
depth: {type: randint, low: 2, high: 6}
dropout: {type: uniform, low: 0, high: 0.4}
batch_norm: {type: choice, choices: [true, false]}
aggregation: {type: fixed, value: mean}
hidden_dim: {type: randint, low: 100, high: 2000, step: 100}
"""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("ffn_type = 'branched'", "\"ffn_type = 'branched'\" cannot be read; write == to compare"),
        ("__import__('os')", "\"__import__('os')\" may hold only comparisons"),
        ("ffn_typ == 'branched'", "names ffn_typ, which is unknown; did you mean ffn_type?"),
        ("activation == 'RELU'", "names activation, which is not in search_space; add it there with type: fixed, or move model.activation"),
        ("trunk_n_layers > 1", "names the parameter itself"),
        ("ffn_type == 'banched'", "compares ffn_type with 'banched', which it can never be; did you mean branched?"),
        ("ffn_type != 'banched'", "compares ffn_type with 'banched', which it can never be"),
        ("ffn_type in ['branched', 'x']", "compares ffn_type with 'x', which it can never be; it is one of"),
        ("depth == 7", "compares depth with 7, which it can never be; it goes from 2 to 6"),
        ("depth == 2.5", "compares depth with 2.5, which it can never be"),
        ("depth == '3'", "compares depth with '3', which it can never be"),
        ("depth > 6", "can never be true, since depth goes from 2 to 6: depth > 6"),
        ("10 < depth", "can never be true, since depth goes from 2 to 6: depth > 10"),
        ("depth < 'x'", "compares numbers with something else: depth < 'x'"),
        ("ffn_type < 3", "compares numbers with something else: ffn_type < 3"),
        ("hidden_dim == 150", "compares hidden_dim with 150, which it can never be; it goes from 100 to 2000 in steps of 100"),
        ("batch_norm == 1", "compares batch_norm with 1, which it can never be"),
        ("aggregation == 'sum'", "compares aggregation with 'sum', which it can never be; it is fixed to 'mean'"),
        ("depth > 3 and depth < 3", "'depth > 3 and depth < 3' can never be true, so trunk_n_layers is never used"),
        ("dropout > 0.2 and dropout < 0.1", "'dropout > 0.2 and dropout < 0.1' can never be true"),
        ("200 < hidden_dim < 300", "'200 < hidden_dim < 300' can never be true"),
        ("not (batch_norm == true or batch_norm == false)", "'not (batch_norm == true or batch_norm == false)' can never be true"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_named(space_problems, condition, expected):
    parameter = f'trunk_n_layers: {{type: randint, low: 1, high: 3, condition: "{condition}"}}'
    (line,) = space_problems(HEADS + parameter)
    assert line.startswith(f"trunk_n_layers.condition {expected}")


@pytest.mark.parametrize(
    "condition",
    [
        "ffn_type == 'branched' and (depth >= 3 or dropout < 0.1)",
        "ffn_type not in ['regression']",
        "depth < 10",
        "batch_norm == true",
        "0.1 < dropout < 0.10001",
        "200 <= hidden_dim <= 300 and hidden_dim != 200",
        "aggregation == 'mean'",
        "hidden_dim > depth",
        "depth != 3 and depth != 4",
    ],
)
def test_a_condition_that_can_hold_is_taken(load, condition):
    import textwrap

    parameter = f'trunk_n_layers: {{type: randint, low: 1, high: 3, condition: "{condition}"}}'
    load(
        "data: {file: a, target_cols: [y]}\nbase: false\nsearch_space:\n"
        + textwrap.indent(HEADS + parameter, "  ")
    )


def test_conditions_in_a_circle_are_named(space_problems):
    (line,) = space_problems(
        """
        depth: {type: randint, low: 2, high: 6, condition: num_layers > 1}
        num_layers: {type: randint, low: 1, high: 3, condition: trunk_n_layers > 1}
        trunk_n_layers: {type: randint, low: 1, high: 3, condition: depth > 2}
        """
    )
    assert "goes round in a circle" in line
    assert all(name in line for name in ("depth", "num_layers", "trunk_n_layers"))


def test_a_branch_of_an_untaken_branch_is_never_used(space_problems):
    (line,) = space_problems(
        """
        ffn_type: {type: choice, choices: [regression, branched]}
        trunk_n_layers: {type: randint, low: 1, high: 3, condition: ffn_type == 'branched'}
        trunk_hidden_dim:
          type: choice
          choices: [100, 200]
          condition: trunk_n_layers > 1 and ffn_type == 'regression'
        """
    )
    assert line.startswith("trunk_hidden_dim.condition")
    assert line.endswith("can never be true, so trunk_hidden_dim is never used")


def test_a_condition_on_a_broken_parameter_is_not_called_unknown(space_problems):
    found = space_problems(
        """
        ffn_type: {type: choice, choices: []}
        trunk_n_layers: {type: randint, low: 1, high: 3, condition: ffn_type == 'branched'}
        """
    )
    assert found == ["ffn_type.choices is empty; write at least one"]


# ------------------------------------------------------------------------- base, enqueue, grid


def test_a_base_outside_of_the_space_is_named_key_by_key(space_problems):
    found = space_problems(
        """
        depth: {type: randint, low: 4, high: 6}
        hidden_dim: {type: choice, choices: [100, 200]}
        lr: {type: loguniform, low: 1e-4, high: 1e-2}
        dropout: {type: uniform, low: 0, high: 0.4, step: 0.1}
        """,
        more="model: {dropout: 0.15}",
    )
    end = "; change one, or set base: false to try none"
    assert found == [
        f"depth goes from 4 to 6 and leaves out the base value, model.depth: 3{end}",
        f"hidden_dim is one of 100, 200 and leaves out the base value, model.hidden_dim: 300{end}",
        "lr has no base value; set optimization.lr, or base: false to try none",
        "dropout goes from 0 to 0.4 in steps of 0.1 and leaves out the base value, "
        f"model.dropout: 0.15{end}",
    ]


def test_a_base_need_not_lie_in_a_branch_that_it_does_not_take(load):
    text = """
    data: {file: a, target_cols: [y]}
    search_space:
      ffn_type: {type: choice, choices: [regression, branched]}
      trunk_n_layers: {type: randint, low: 3, high: 4, condition: ffn_type == 'branched'}
      depth: {type: fixed, value: 6}
    """
    load(text)


def test_a_fixed_value_decides_the_branch_of_the_base(space_problems):
    (line,) = space_problems(
        """
        ffn_type: {type: fixed, value: branched}
        trunk_n_layers: {type: randint, low: 3, high: 4, condition: ffn_type == 'branched'}
        """,
        more="base: true",
    )
    assert line.startswith("trunk_n_layers goes from 3 to 4 and leaves out the base value")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{depth: 7}", "enqueue.0.depth is 7, but search_space.depth goes from 2 to 6"),
        ("{depth: 2.5}", "enqueue.0.depth is 2.5, but search_space.depth goes from 2 to 6"),
        ("{ffn_type: x}", "enqueue.0.ffn_type is 'x', but search_space.ffn_type is one of"),
        ("{dept: 3}", "enqueue.0.dept is unknown; did you mean depth?"),
        ("{activation: ELU}", "enqueue.0.activation is not in search_space; write it under model"),
        ("{aggregation: sum}", "enqueue.0.aggregation is 'sum', but search_space.aggregation is fixed"),
        ("{ffn_type: regression, trunk_n_layers: 2}", "enqueue.0.trunk_n_layers is given, but its condition, ffn_type == 'branched', does not hold here"),
    ],
)  # fmt: skip
def test_a_wrong_enqueued_value_is_named(space_problems, entry, expected):
    branch = (
        "trunk_n_layers: {type: randint, low: 1, high: 3, condition: \"ffn_type == 'branched'\"}"
    )
    (line,) = space_problems(HEADS + branch, more=f"base: false\nenqueue: [{entry}]")
    assert line.startswith(expected)


def test_a_grid_needs_an_end_of_values(space_problems):
    found = space_problems(
        """
        dropout: {type: uniform, low: 0, high: 0.4}
        max_lr: {type: loguniform, low: 1e-4, high: 1e-2}
        depth: {type: randint, low: 2, high: 6}
        """,
        more="base: false\nsampler: {type: grid}",
    )
    assert found == [
        "dropout is uniform, which has no end of values for a grid; give it a step",
        "max_lr is loguniform, which has no end of values for a grid; use choice",
    ]
