"""A mistake is one clear line and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hpo.commands.made_study import SWEEP_YAML
from tests.hpo.commands.shell import SECRET, Shell


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["swep"], "Did you mean 'sweep'?"),
        (["sweep"], "Missing argument 'FILE'"),
        (["sweep", "none.yaml"], "none.yaml: no such file"),
        (["sweep", "esol.yaml", "--dryrun"], "No such option: --dryrun"),
        (["sweep", "esol.yaml", "seed"], "'seed' is no override; write key=value"),
        (["sweep", "esol.yaml", "=3"], "'=3' is no override"),
        (["validate", "esol.yaml", "model.dept=4"], "model.dept"),
        (["validate", "esol.yaml", "--log-level", "LOUD"], "No such option"),
        (["sweep", "esol.yaml", "--log-level", "LOUD"], "'LOUD' is not one of"),
        (["top-k", "-k", "0"], "-k"),
        (["top-k", "-k", "three"], "-k"),
        (["top-k", "--format", "xml"], "'xml' is not one of"),
        (["top-k", "--storage", "studies.db"], "studies.db"),
        (["top-k", "--storage", "nosuchdb://x"], "nosuchdb"),
        (["resume", "--num-samples", "0"], "--num-samples"),
        (["resume", "esol"], "'esol' is no override"),
        (["delete"], "--study"),
        (["schema", "extra"], "extra"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, sweep_file: Path, shell: Shell
) -> None:
    assert shell(*arguments) == 2
    assert words in shell.err
    assert shell.err.startswith("error: ")
    assert shell.err.count("\n") == 1
    assert shell.out == ""


def test_every_problem_of_a_file_is_a_line(sweep_file: Path, shell: Shell) -> None:
    sweep_file.write_text(SWEEP_YAML + "modle: {}\nseeed: 1\n")
    assert shell("validate", str(sweep_file)) == 2
    lines = shell.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)


def test_every_wrong_override_is_named(sweep_file: Path, shell: Shell) -> None:
    assert shell("sweep", str(sweep_file), "one", "seed=1", "two") == 2
    assert [line.split(";")[0] for line in shell.err.splitlines()] == [
        "error: 'one' is no override",
        "error: 'two' is no override",
    ]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_every_missing_file_of_data_is_a_line_before_anything_is_started(
    dry_run: list[str], sweeps: Any, sweep_file: Path, tmp_path: Path, shell: Shell
) -> None:
    before = sorted(tmp_path.iterdir())
    missing = ["data.test_file=held_out.csv", "data.blind_file=next.csv"]
    assert shell("sweep", str(sweep_file), *missing, *dry_run) == 2
    assert shell.err.splitlines() == [
        f"error: {name}: there is no such file; the path starts at {tmp_path}"
        for name in ("held_out.csv", "next.csv")
    ]
    assert sweeps.calls == []
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["top-k", "status", "studies", "resume"])
def test_commands_that_read_create_no_database(command: str, shell: Shell) -> None:
    assert shell(command, "--storage", "sqlite:///none.db") == 2
    assert "none.db" in shell.err
    assert "Traceback" not in shell.err
    assert not Path("none.db").exists()


@pytest.mark.parametrize("command", ["top-k", "status", "delete"])
def test_an_unknown_study_is_named(command: str, study: str, shell: Shell) -> None:
    assert shell(command, "--study", "esoll") == 2
    assert "no study 'esoll'" in shell.err
    assert "did you mean 'esol'?" in shell.err


def test_more_than_there_are_is_refused(study: str, shell: Shell) -> None:
    assert shell("top-k", "-k", "4") == 2
    assert "has 3 complete trials" in shell.err
    assert shell.out == ""


def test_a_file_that_cannot_be_written(study: str, shell: Shell) -> None:
    assert shell("top-k", "-o", "no/such/folder.csv", "--format", "csv") == 2
    assert "no/such/folder.csv: cannot be written" in shell.err


def test_debug_adds_the_traceback(shell: Shell) -> None:
    assert shell("validate", "none.yaml", "--debug") == 2
    assert "Traceback" in shell.err
    assert shell.err.splitlines()[-1].startswith("error: none.yaml")


def test_a_password_in_a_mistake_is_not_echoed(shell: Shell) -> None:
    for arguments in (
        ["top-k", "--storage", f"nosuchdb://me:{SECRET}@host/db"],
        ["sweep", f"postgresql://me:{SECRET}@host/db"],
        ["validate", "none.yaml", f"postgresql://me:{SECRET}@host/db"],
        ["studies", f"postgresql://me:{SECRET}@host/db", "--debug"],
    ):
        assert shell(*arguments) == 2
        assert "hunter2" not in shell.err + shell.out
        assert "***" in shell.err
