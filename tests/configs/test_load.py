from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.load import dump_stored, dump_sweep, load_stored, load_sweep

PLAN = Path(__file__).parent / "plan.yaml"
SMALL = """
data:
  file: a.csv
  target_cols: [y]
"""
ALL_KINDS = (
    SMALL
    + """
split: {method: random, n_folds: 5, test_fraction: 0.2}
model: {molecule_features: rdkit_2d+charge, depth: 4}
search_space:
  dropout: {type: uniform, low: 0, high: 0.4, q: 0.1}
  max_lr: {type: loguniform, low: 1e-4, high: 1e-2}
  depth: {type: randint, low: 2, high: 6, step: 2}
  batch_norm: {type: choice, choices: [true, false]}
  aggregation: {type: fixed, value: norm}
  aggregation_norm: {type: choice, choices: [100, 50.5], condition: aggregation == 'norm'}
enqueue:
  - {depth: 2, batch_norm: false}
sampler: {type: random}
time_budget_s: 60
"""
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else None
    )
    if pairs is None:
        return {path: value}
    return {k: v for key, item in pairs for k, v in leaves(item, (*path, key)).items()}


def test_a_whole_plan_loads_key_for_key():
    written = leaves(yaml.safe_load(PLAN.read_text().replace("1e-", "1.0e-")))
    stored = leaves(load_sweep(PLAN).stored)
    assert {path: stored[path] for path in written} == written


def test_values_of_a_plan_are_overridden_on_the_command_line():
    config = load_sweep(
        PLAN, ["data.data_dir=x/split_0/fold_0", "resources.gpus_per_trial=0"]
    ).config
    assert config.data.data_dir == Path("x/split_0/fold_0")
    assert config.resources.gpus_per_trial == 0
    assert load_sweep(PLAN, ["search_space.depth.high=5"]).config.search_space["depth"].high == 5


@pytest.mark.parametrize("text", [SMALL, ALL_KINDS, PLAN.read_text()], ids=["small", "all", "plan"])
def test_a_configuration_survives_dump_and_load(load, tmp_path, text):
    config = load(text).config
    (tmp_path / "again.yaml").write_text(dump_sweep(config))
    assert load_sweep(tmp_path / "again.yaml").config == config


@pytest.mark.parametrize("text", [SMALL, ALL_KINDS, PLAN.read_text()], ids=["small", "all", "plan"])
def test_a_stored_configuration_survives_json_and_load(load, text):
    loaded = load(text)
    assert load_stored(json.loads(json.dumps(loaded.stored))) == loaded


def test_a_stored_configuration_takes_overrides(load):
    again = load_stored(load(ALL_KINDS).stored, ["num_samples=7", "study.storage=sqlite:///b.db"])
    assert again.config.num_samples == 7
    assert again.stored["study"]["storage"] == "sqlite:///b.db"


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("scheduler.max_t=60", "optimization", "max_epochs", 60),
        ("optimization.max_epochs=60", "scheduler", "max_t", 60),
        ("seed=8", "optimization", "seed", 8),
        ("split.n_folds=4", "split", "val_fraction", None),
    ],
)
def test_what_follows_from_a_stored_key_follows_its_override(load, override, section, key, value):
    stored = load(SMALL + "seed: 3").stored
    assert load_stored(stored, [override]).stored[section][key] == value
    assert stored == load(SMALL + "seed: 3").stored


def test_a_broken_stored_configuration_names_itself_and_no_line(load):
    with pytest.raises(ConfigError, match=r"^stored configuration: num_samples must be above 0"):
        load_stored({**load(SMALL).stored, "num_samples": 0})


def test_text_that_looks_like_a_number_survives_dump_and_load(load, tmp_path):
    config = load(
        "data: {file: a.csv, target_cols: ['1e-5', 'yes', '12', '${x}']}".replace("${", "\\${")
    ).config
    assert config.data.target_cols == ("1e-5", "yes", "12", "${x}")
    (tmp_path / "again.yaml").write_text(dump_sweep(config))
    assert load_sweep(tmp_path / "again.yaml").config.data == config.data


def test_numbers_in_scientific_notation_need_no_dot(load):
    config = load(SMALL + "optimization: {max_lr: 1e-3, init_lr: 1E-4, weight_decay: +2e-6}").config
    assert (config.optimization.max_lr, config.optimization.init_lr) == (1e-3, 1e-4)
    assert config.optimization.weight_decay == 2e-6
    choices = load(SMALL + "base: false\nsearch_space: {max_lr: {type: choice, choices: [1e-3]}}")
    assert choices.config.search_space["max_lr"].choices == (0.001,)


# ------------------------------------------------------------------------- what follows from what


def test_a_study_is_named_after_its_file(load, tmp_path):
    assert load(SMALL).config.study.name == "sweep"
    assert load(SMALL + "study: {name: other}").config.study.name == "other"
    assert load(SMALL).stored["study"]["name"] == "sweep"


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("", 150),
        ("scheduler: {max_t: 40}", 40),
        ("optimization: {max_epochs: 30}", 30),
        ("scheduler: {max_t: 20}\noptimization: {max_epochs: 20}", 20),
    ],
)
def test_max_t_and_max_epochs_fill_each_other(load, text, epochs):
    config = load(SMALL + text).config
    assert (config.scheduler.max_t, config.optimization.max_epochs) == (epochs, epochs)


def test_one_seed_rules(load):
    assert load(SMALL + "seed: 3").config.optimization.seed == 3
    assert load(SMALL + "seed: 3").config.split.seed == 3
    assert load(SMALL + "optimization: {seed: 4}").config.seed == 4
    assert load(SMALL + "seed: 3\nsplit: {seed: 9}").config.split.seed == 9


def test_the_largest_seed_and_a_negative_one_of_the_split_are_taken(load):
    config = load(SMALL + "seed: 4294967295\nsplit: {seed: -1}").config
    assert (config.seed, config.split.seed) == (2**32 - 1, -1)


def test_a_tenth_validates_where_nothing_else_is_said(load):
    assert load(SMALL).config.split.val_fraction == 0.1
    assert load(SMALL + "split: {n_folds: 5}").config.split.val_fraction is None
    assert load("data: {data_dir: d, target_cols: [y]}").config.split is None


def test_the_direction_follows_the_metric_where_none_is_written(load):
    assert load(SMALL + "metric: val_r2").config.mode == "max"
    assert load(SMALL + "metric: val_mae").config.mode == "min"


# ------------------------------------------------------------------------- the environment


URL = SMALL + "study: {storage: 'postgresql+psycopg://me:${oc.env:SWEEP_PW}@host/db'}"


def test_a_secret_of_the_environment_is_used_and_not_kept(load, monkeypatch):
    monkeypatch.setenv("SWEEP_PW", "hunter2")
    loaded = load(URL)
    assert loaded.config.study.storage == "postgresql+psycopg://me:hunter2@host/db"
    kept = "postgresql+psycopg://me:${oc.env:SWEEP_PW}@host/db"
    assert loaded.stored["study"]["storage"] == kept
    assert "hunter2" not in repr(loaded) + json.dumps(loaded.stored) + dump_sweep(loaded.config)
    assert kept in dump_stored(loaded.stored)
    assert load_stored(loaded.stored) == loaded


def test_references_elsewhere_are_resolved_and_kept_as_text(load, monkeypatch):
    monkeypatch.setenv("SWEEP_SEED", "17")
    monkeypatch.setenv("SWEEP_LOW", "0.1")
    loaded = load(
        SMALL
        + """
seed: ${oc.env:SWEEP_SEED}
num_samples: ${oc.env:SWEEP_TRIALS,12}
mlflow: {run_name: '${data.file}'}
base: false
search_space: {dropout: {type: uniform, low: '${oc.env:SWEEP_LOW}', high: 0.5, q: '${oc.env:SWEEP_LOW}'}}
"""
    )
    assert (loaded.config.seed, loaded.config.num_samples) == (17, 12)
    assert loaded.config.mlflow.run_name == "a.csv"
    assert loaded.config.search_space["dropout"].step == 0.1
    assert loaded.stored["seed"] == "${oc.env:SWEEP_SEED}"
    assert loaded.stored["search_space"]["dropout"]["step"] == "${oc.env:SWEEP_LOW}"
    assert load_stored(loaded.stored).config == loaded.config


def test_a_literal_password_works_for_the_run_and_is_masked_where_it_is_kept(load):
    url = "postgresql://me:hunter2@host/db"
    loaded = load(SMALL, f"study.storage={url}")
    assert loaded.config.study.storage == url
    assert loaded.stored["study"]["storage"] == "postgresql://me:***@host/db"
    assert "hunter2" not in repr(loaded)
    again = load_stored(loaded.stored, [f"study.storage={url}"])
    assert again == loaded


def test_a_file_with_a_masked_password_is_refused(problems):
    text = SMALL + "study: {storage: 'postgresql://me:***@host/db'}"
    assert problems(text) == [
        "sweep.yaml:4: study.storage has its password masked; write ${oc.env:NAME} in its place"
    ]


def test_unset_variables_are_named_one_by_one(problems, monkeypatch):
    monkeypatch.delenv("SWEEP_PW", raising=False)
    assert problems(URL + "\nseed: ${oc.env:SWEEP_SEED_X}") == [
        "sweep.yaml:4: study.storage needs the environment variable SWEEP_PW, which is not set",
        "sweep.yaml:5: seed needs the environment variable SWEEP_SEED_X, which is not set",
    ]


def test_references_that_lead_nowhere_are_named(problems):
    found = problems(
        SMALL + "study: {name: '${modle.depth}'}\nmlflow: {run_name: '${oc.env:'}\n"
        "ray: {address: '${nope:1}'}"
    )
    assert found == [
        "sweep.yaml:4: study.name refers to modle.depth, which is not in the file",
        "sweep.yaml:5: mlflow.run_name cannot be read; write a reference as ${oc.env:NAME}",
        "sweep.yaml:6: ray.address cannot be resolved: Unsupported interpolation type nope",
    ]


def test_no_message_shows_a_secret(problems, monkeypatch):
    monkeypatch.setenv("SWEEP_PW", "hunter2")
    text = SMALL + "seed: ${oc.env:SWEEP_PW}\nray: 'x://u:hunter2@h'\nmode: 'y://u:hunter2@h'"
    found = problems(text, "metric=z://u:hunter2@h", "study.storag=z://u:hunter2@h")
    assert len(found) == 5
    assert "hunter2" not in "\n".join(found)
    assert "${oc.env:SWEEP_PW}" in "\n".join(found)
