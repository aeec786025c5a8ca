"""The section ``promotion``: its defaults, and each bound with what is said beyond it."""

from __future__ import annotations

import pytest

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.load import load_stored

FILE = "data: {file: a.csv, target_cols: [y]}\n"


def test_the_defaults_are_those_of_the_plan(load):
    assert load(FILE).config.promotion.model_dump() == {
        "registry": None,
        "ledger": None,
        "max_generalisation_gap": 0.25,
        "val_r2_tolerance": 0.05,
        "min_test_rmse_improvement": 0.01,
        "max_test_mae_regression": 0.05,
        "min_probability": None,
        "allow_dirty": False,
        "max_monitored_regression": 0.10,
        "min_monitored_rows": 20,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max_generalisation_gap: 0", "max_generalisation_gap must be above 0, not 0"),
        ("val_r2_tolerance: -0.1", "val_r2_tolerance must be at least 0, not -0.1"),
        ("min_test_rmse_improvement: 1", "min_test_rmse_improvement must be below 1, not 1"),
        ("min_test_rmse_improvement: -1", "min_test_rmse_improvement must be at least 0, not -1"),
        ("min_test_rmse_improvement: 2%", "min_test_rmse_improvement must be a number, not '2%'"),
        ("max_test_mae_regression: -1", "max_test_mae_regression must be at least 0, not -1"),
        (
            "max_test_mae_regression: .inf",
            "max_test_mae_regression must be a finite number, not inf",
        ),
        ("min_probability: 0", "min_probability must be above 0, not 0"),
        ("min_probability: 90", "min_probability must be at most 1, not 90"),
        ("min_probability: true", "min_probability must be a number, not true"),
        ("allow_dirty: maybe", "allow_dirty must be true or false, not 'maybe'"),
        ("max_monitored_regression: -1", "max_monitored_regression must be at least 0, not -1"),
        ("min_monitored_rows: 0", "min_monitored_rows must be above 0, not 0"),
        ("min_monitored_rows: 1.5", "min_monitored_rows must be a whole number, not 1.5"),
        ("registry: 3", "registry must be text, not 3; write it in quotes"),
        ("registry: a/b", "registry is 'a/b'; MLflow names a model in words without / and :"),
        ("registry: 'a:b'", "registry is 'a:b'; MLflow names a model in words without / and :"),
        ("registry: ' '", "registry is ' '; MLflow names a model in words without / and :"),
        ("registry: ..", "registry is '..'; MLflow names a model in words without / and :"),
        ("allow_drity: true", "allow_drity is unknown; did you mean allow_dirty?"),
    ],
)
def test_a_wrong_value_is_said_in_one_line(problems, value, expected):
    assert problems(f"{FILE}promotion: {{{value}}}") == [f"sweep.yaml:2: promotion.{expected}"]


@pytest.mark.parametrize(
    "value",
    [
        "min_test_rmse_improvement: 0",
        "min_test_rmse_improvement: 0.02",
        "val_r2_tolerance: 0",
        "max_test_mae_regression: 2",
        "min_probability: 1",
        "min_probability: null",
        "registry: ESOL models-2",
        "min_monitored_rows: 1",
    ],
)
def test_what_lies_on_a_bound_loads_and_survives_storing(load, value):
    loaded = load(f"{FILE}promotion: {{{value}}}")
    assert load_stored(loaded.stored) == loaded


def test_a_study_stored_before_a_key_was_there_loads_with_its_default(load):
    stored = load(FILE).stored
    del stored["promotion"]["allow_dirty"]
    assert load_stored(stored).config.promotion.allow_dirty is False


def test_the_name_of_the_registered_model_is_none_that_mlflow_refuses(load):
    validation = pytest.importorskip("mlflow.utils.validation")
    for name in ("a", "a b", "a.b", "..a", "a/b", "a:b", ".", "..", " "):
        text = f"{FILE}promotion: {{registry: '{name}'}}"
        try:
            validation._validate_model_name(name)
        except Exception:
            with pytest.raises(ConfigError):
                load(text)
        else:
            if not name.startswith(".."):
                load(text)
