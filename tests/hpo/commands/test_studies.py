"""``studies``: what a storage holds."""

from __future__ import annotations

from pathlib import Path

from chemprop_hpo.storage.database import open_database
from tests.hpo.commands.made_study import make_study
from tests.hpo.commands.shell import Shell


def test_it_lists_them_with_their_counts(study: str, sweep_file: Path, shell: Shell) -> None:
    make_study("[bold]second", sweep_file)
    assert shell("studies") == 0
    rows = [line.split() for line in shell.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["esol", "[bold]second"]
    assert rows[0][1:8] == ["val_loss", "0.3", "3", "1", "2", "0", "12"]


def test_an_empty_storage_is_said_on_stderr(shell: Shell) -> None:
    open_database("sqlite:///studies.db").close()
    assert shell("studies") == 0
    assert shell.out == ""
    assert "no study in sqlite:///studies.db" in shell.err
