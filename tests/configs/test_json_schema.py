from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chemprop_hpo.configs.document import read_document
from chemprop_hpo.configs.json_schema import sweep_json_schema
from chemprop_hpo.configs.load import dump_sweep, load_stored, load_sweep
from chemprop_hpo.configs.space import grid_values

CONFIGS = Path(__file__).parents[2] / "configs"
EXAMPLES = sorted((CONFIGS / "sweeps").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(sweep_json_schema())


def paths(values: dict[str, Any]) -> list[str]:
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(values)]


def small(**more: Any) -> dict[str, Any]:
    return {"data": {"file": "a.csv", "target_cols": ["y"]}, **more}


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {"freesolv", "esol", "esol_grid", "expansionrx"}


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(sweep_json_schema())


def test_the_committed_schema_is_current():
    committed = json.loads((CONFIGS / "sweep.schema.json").read_text())
    assert committed == sweep_json_schema(), "run: chemprop-hpo schema > configs/sweep.schema.json"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_example(path):
    assert paths(read_document(path).values) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_names_the_schema_and_how_to_run_it(path):
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../sweep.schema.json\n")
    assert f"chemprop-hpo sweep configs/sweeps/{path.name}" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads_and_survives_storing_and_dumping(path, tmp_path):
    loaded = load_sweep(path)
    assert loaded.config.study.name == path.stem
    assert load_stored(json.loads(json.dumps(loaded.stored))) == loaded
    (tmp_path / "again.yaml").write_text(dump_sweep(loaded.config))
    assert load_sweep(tmp_path / "again.yaml").config == loaded.config


def test_the_grid_has_162_points_and_a_trial_for_each():
    config = load_sweep(CONFIGS / "sweeps" / "esol_grid.yaml").config
    values = [grid_values(parameter) for parameter in config.search_space.values()]
    assert math.prod(len(some or ()) for some in values) == config.num_samples == 162
    assert (config.sampler.type, config.scheduler.type) == ("grid", "none")


@pytest.mark.parametrize("name", ["freesolv", "esol", "expansionrx"])
def test_the_other_examples_search_all_three_heads_under_asha(name):
    config = load_sweep(CONFIGS / "sweeps" / f"{name}.yaml").config
    heads = grid_values(config.search_space["ffn_type"])
    assert set(heads or ()) == {"regression", "branched", "mixture_of_experts"}
    assert config.scheduler.type == "asha"


@pytest.mark.parametrize(
    ("values", "place"),
    [
        (small(sede=1), ""),
        (small(model={"depht": 3}), "model"),
        (small(model={"depth": "three"}), "model.depth"),
        (small(model={"depth": 0}), "model.depth"),
        (small(model={"dropout": 1}), "model.dropout"),
        (small(model={"ffn_type": "banched"}), "model.ffn_type"),
        (small(search_space={"dropuot": {"type": "fixed", "value": 1}}), "search_space"),
        (small(search_space={"depth": {"low": 1, "high": 2}}), "search_space.depth"),
        (small(search_space={"depth": {"type": "normal"}}), "search_space.depth"),
        (small(enqueue=[{"dept": 3}]), "enqueue.0"),
        ({"seed": 1}, ""),
    ],
)
def test_the_schema_rejects_what_the_loader_rejects(values, place):
    assert paths(values) == [place]


def test_the_schema_accepts_both_names_of_a_step():
    for key in ("step", "q"):
        parameter = {"type": "uniform", "low": 0, "high": 1, key: 0.5}
        assert paths(small(search_space={"dropout": parameter})) == []


def test_every_key_is_described():
    schema = sweep_json_schema()
    bare = [
        f"{name}.{key}"
        for name, part in {"": schema, **schema["$defs"]}.items()
        for key, value in part.get("properties", {}).items()
        if "description" not in value and "$ref" not in value
    ]
    assert bare == []
