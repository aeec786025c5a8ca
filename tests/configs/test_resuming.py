from __future__ import annotations

from typing import Any

import pytest

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.resuming import load_resumed

SMALL = """
data: {file: a.csv, target_cols: [y]}
"""
PLACE = "postgresql+psycopg://me:hunter2@host/db"
REFERENCE = "postgresql+psycopg://me:${oc.env:SWEEP_PW}@host/db"


def resumed(stored: dict[str, Any], *overrides: str, **options: Any) -> Any:
    return load_resumed(stored, overrides, **{"name": "esol", "storage": PLACE, **options})


def refusal(stored: dict[str, Any], *overrides: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resumed(stored, *overrides, **options)
    assert "hunter2" not in str(caught.value)
    return list(caught.value.problems)


@pytest.fixture
def stored(load, monkeypatch) -> dict[str, Any]:
    """A configuration whose password was in the environment, where it is not set any more."""
    monkeypatch.setenv("SWEEP_PW", "hunter2")
    found: dict[str, Any] = load(SMALL + f"study: {{storage: '{REFERENCE}'}}").stored
    monkeypatch.delenv("SWEEP_PW")
    return found


def test_a_study_is_where_it_was_found_and_keeps_how_its_password_was_written(stored):
    loaded = resumed(stored)
    assert loaded.config.study.storage == PLACE
    assert loaded.stored["study"]["storage"] == REFERENCE
    assert resumed(loaded.stored, storage="sqlite:///b.db").config.study.storage == "sqlite:///b.db"


def test_without_a_reference_the_study_keeps_where_it_is_now_with_its_password_masked(load):
    loaded = resumed(load(SMALL).stored)
    assert loaded.stored["study"]["storage"] == "postgresql+psycopg://me:***@host/db"


def test_a_name_and_a_url_are_taken_as_they_are(load):
    loaded = resumed(load(SMALL).stored, name="a ${b}", storage="postgresql://me:p${w}@h/d")
    assert loaded.config.study_name == "a ${b}"
    assert loaded.config.study.storage == "postgresql://me:p${w}@h/d"


def test_overrides_and_a_new_total_apply(load):
    loaded = resumed(load(SMALL).stored, "data.file=/elsewhere/a.csv", num_samples=7)
    assert str(loaded.config.data.file) == "/elsewhere/a.csv"
    assert loaded.config.num_samples == 7


def test_what_has_an_option_of_its_own_is_refused_as_an_override(stored):
    lines = refusal(
        stored, "study.name=x", f"study.storage={PLACE}", "num_samples=3", num_samples=4
    )
    assert lines == [
        "override study.name=x: a study keeps its name; --study says which one is meant",
        "override study.storage=postgresql+psycopg://me:***@host/db: --storage says where the "
        "study is",
        "override num_samples=3: --num-samples says it already",
    ]
    assert resumed(stored, "num_samples=3").config.num_samples == 3


def test_a_variable_that_is_not_set_is_named_with_what_to_do(load, monkeypatch):
    monkeypatch.setenv("TRACKER_PW", "hunter2")
    text = SMALL + "mlflow: {tracking_uri: 'https://me:${oc.env:TRACKER_PW}@lab'}"
    kept = load(text).stored
    monkeypatch.delenv("TRACKER_PW")
    assert refusal(kept) == [
        "stored configuration: mlflow.tracking_uri needs the environment variable TRACKER_PW, "
        "which is not set; set it, or override the value: mlflow.tracking_uri=VALUE"
    ]
    assert resumed(kept, "mlflow.tracking_uri=sqlite:///x.db").config.mlflow.tracking


def test_a_masked_password_of_the_tracking_server_must_be_given_again(load):
    kept = load(SMALL, "mlflow.tracking_uri=https://me:hunter2@lab").stored
    (line,) = refusal(kept)
    assert line.startswith("mlflow.tracking_uri is https://me:***@lab: its password was left out")
    assert not resumed(kept, "mlflow.tracking=false").config.mlflow.tracking
