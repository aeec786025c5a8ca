"""``top-k``: tables and files of the best trials."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from tests.hpo.commands.made_study import BRANCHED, DISTRIBUTIONS, PLAIN, SWEEP_YAML, make_study
from tests.hpo.commands.shell import Shell, in_a_process


def test_table_ranks_by_value_and_shows_what_matters(study: str, shell: Shell) -> None:
    assert shell("top-k", "--study", study) == 0
    lines = shell.out.splitlines()
    assert lines[0] == "study esol in sqlite:///studies.db"
    assert lines[1] == "best trials by val_loss (lower is better)"
    heads = "rank trial val_loss epochs best epoch val_rmse val_r2 gap head"
    assert lines[2].split() == heads.split()
    assert lines[3].split() == ["1", "1", "0.3", "30", "24", "0.7", "0.81", "0.1", "branched"]
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["1", "1", "0.3"],
        ["2", "5", "0.4"],
        ["3", "0", "0.5"],
    ]
    assert "   1  depth=5 max_lr=0.004 ffn_type=branched trunk_n_layers=2" in lines
    assert "   3  depth=3 max_lr=0.001235 ffn_type=regression" in lines
    assert shell.err == ""


def test_the_most_recent_study_is_named(study: str, shell: Shell) -> None:
    assert shell("top-k", "--format", "json") == 0
    assert shell.err == "most recent study: esol\n"


def test_json_holds_full_records(study: str, shell: Shell) -> None:
    assert shell("top-k", "-k", "1", "--format", "json") == 0
    document = json.loads(shell.out)
    trial = document["trials"][0]
    assert document["study"] == "esol"
    assert (document["metric"], document["mode"]) == ("val_loss", "min")
    assert trial["rank"] == 1
    assert trial["number"] == 1
    assert trial["params"] == BRANCHED
    assert trial["metrics"]["val_r2"] == 0.81
    assert trial["seed"] == 7


def test_csv_has_a_column_for_what_any_row_has(study: str, shell: Shell) -> None:
    assert shell("top-k", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(shell.out)))
    assert [row["number"] for row in rows] == ["1", "5", "0"]
    assert [row["params.trunk_n_layers"] for row in rows] == ["2", "2", ""]
    assert float(rows[2]["params.max_lr"]) == PLAIN["max_lr"]


def test_distinct_counts_equal_configurations_once(study: str, shell: Shell) -> None:
    assert shell("top-k", "-k", "2", "--distinct", "--format", "json") == 0
    assert [t["number"] for t in json.loads(shell.out)["trials"]] == [1, 0]


@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv"])
def test_a_file_gets_what_stdout_would(form: str, study: str, shell: Shell) -> None:
    shell("top-k", "--format", form)
    printed = shell.out
    assert shell("top-k", "--format", form, "-o", "best.txt") == 0
    assert shell.out == ""
    assert Path("best.txt").read_text() == printed
    assert "written to best.txt" in shell.err


def test_yaml_of_one_is_one_training(study: str, shell: Shell) -> None:
    assert shell("top-k", "-k", "1", "--format", "yaml", "-o", "best.yaml") == 0
    config = load_sweep(Path("best.yaml")).config
    assert config.model.depth == 5
    assert config.model.ffn_type == "branched"
    assert config.model.trunk_n_layers == 2
    assert config.optimization.max_lr == 0.004
    assert (config.num_samples, config.search_space, config.base) == (1, {}, True)
    assert config.scheduler.type == "none"
    assert config.max_epochs == 30
    assert config.study_name == "esol-top1"
    lines = Path("best.yaml").read_text().splitlines()
    assert lines[0] == "# The best configuration of study esol by val_loss (min):"
    assert lines[1] == "#   trial 1: val_loss = 0.3"


def test_yaml_of_several_trains_exactly_these(study: str, shell: Shell) -> None:
    assert shell("top-k", "-k", "3", "--format", "yaml", "-o", "best.yaml") == 0
    config = load_sweep(Path("best.yaml")).config
    assert list(config.enqueue) == [BRANCHED, BRANCHED, PLAIN]
    assert (config.num_samples, config.base) == (3, False)
    assert set(config.search_space) == set(DISTRIBUTIONS)
    assert config.study_name == "esol-top3"


def test_yaml_keeps_references_and_drops_masked_passwords(
    sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER", "sqlite:///tracker.db")
    sweep_file.write_text(SWEEP_YAML + "mlflow: {tracking_uri: '${oc.env:TRACKER}'}\n")
    make_study("esol", sweep_file)
    with open_database("sqlite:///studies.db") as database:
        opened = open_study(database, "esol")
        config = opened.user_attrs["config"]
        config["study"]["storage"] = "postgresql://me:***@host/db"
        opened.set_user_attr("config", config)
    assert shell("top-k", "-k", "1", "--format", "yaml") == 0
    document = yaml.safe_load(shell.out)
    assert document["mlflow"]["tracking_uri"] == "${oc.env:TRACKER}"
    assert "storage" not in document["study"]
    assert "# That study is in postgresql://me:***@host/db" in shell.out


def test_a_closed_pipe_is_quiet(study: str) -> None:
    command = f"'{sys.executable}' -m chemprop_hpo top-k --format json | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stderr == "most recent study: esol\n"


@pytest.mark.parametrize("command", ["top-k", "status", "studies"])
def test_reading_needs_neither_torch_nor_ray_nor_mlflow(command: str, study: str) -> None:
    done = in_a_process(command)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "IMPORTED optuna"
