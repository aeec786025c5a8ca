"""``validate`` and ``schema``: the file before it runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hpo.commands.shell import Shell


def test_a_valid_file_is_summed_up_in_a_line(sweep_file: Path, shell: Shell) -> None:
    assert shell("validate", str(sweep_file), "num_samples=20") == 0
    assert "study esol, 20 trials, 4 hyperparameters searched, min val_loss" in shell.out


def test_the_schema_is_pure_json(shell: Shell) -> None:
    assert shell("schema") == 0
    assert "search_space" in json.loads(shell.out)["properties"]
    assert shell.err == ""
