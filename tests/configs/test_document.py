from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.load import load_sweep


def test_a_missing_file_is_one_line():
    with pytest.raises(ConfigError) as caught:
        load_sweep(Path("nowhere/sweep.yaml"))
    assert str(caught.value) == "nowhere/sweep.yaml: no such file"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        load_sweep(tmp_path)


def test_a_file_that_is_no_text_is_said_to_be_none(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"data: \xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not text in UTF-8"):
        load_sweep(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("data: {file: a.csv\nseed: 1", "sweep.yaml:2:5: not valid YAML"),
        ("data:\n  file: a: b", "sweep.yaml:2:10: not valid YAML"),
        ("data:\n\tfile: a", "sweep.yaml:2:1: not valid YAML"),
        ("data: &a {x: *a}", "sweep.yaml:1:7: not valid YAML: a value holds itself"),
        ("data: *b", "sweep.yaml:1:7: not valid YAML"),
        ("data: !!python/name:os.system x", "sweep.yaml:1:7: not valid YAML"),
        ("a: 1\n---\nb: 2", "sweep.yaml:2:1: not valid YAML"),
        ("seed: 2024-13-45", "sweep.yaml: not valid YAML: month must be"),
        ("seed: \x01", "sweep.yaml: not valid YAML"),
        ("", "sweep.yaml: is empty"),
        ("# nothing", "sweep.yaml: is empty"),
        ("\n- a\n- b", "sweep.yaml:2: must hold keys"),
        ("data", "sweep.yaml:1: must hold keys"),
    ],
)
def test_a_file_that_is_no_mapping_in_yaml_names_the_place(problems, monkeypatch, text, start):
    Path("sweep.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_sweep(Path("sweep.yaml"))
    (line,) = caught.value.problems
    assert line.startswith(start)
    assert "\n" not in line


def test_keys_given_twice_are_named_with_both_lines(problems):
    text = "data: {file: a.csv, target_cols: [y]}\nmodel:\n  depth: 2\n  depth: 3\nmodel: {}"
    assert problems(text) == [
        "sweep.yaml:4: model.depth is given twice; first on line 3",
        "sweep.yaml:5: model is given twice; first on line 2",
    ]


def test_anchors_and_merges_are_yaml_like_any_other(load):
    config = load(
        "data: {file: a.csv, target_cols: [y]}\nbase: false\nsearch_space:\n"
        "  hidden_dim: &width {type: choice, choices: [100, 200]}\n"
        "  trunk_hidden_dim: {<<: *width, choices: [300]}"
    ).config
    assert config.search_space["trunk_hidden_dim"].choices == (300,)


def test_loading_a_configuration_needs_none_of_the_heavy_packages(tmp_path):
    heavy = "{'torch', 'ray', 'optuna', 'mlflow', 'chemprop', 'pandas', 'rdkit', 'sqlalchemy'}"
    code = f"import sys, chemprop_hpo.configs.load; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"
