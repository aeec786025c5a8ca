"""``delete``: a study and its files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.drivers import Driver
from chemprop_hpo.storage.studies import open_study
from tests.hpo.commands.shell import Shell


@pytest.fixture
def folder(study: str) -> Path:
    folder = Path("studies") / study
    folder.mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"0" * 200_000)
    return folder


def answer(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_it_says_what_it_deletes_and_asks(
    study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("n\n", monkeypatch)
    assert shell("delete", "--study", study) == 1
    assert "6 trials will be deleted" in shell.err
    assert "0.2 MB of checkpoints will be deleted" in shell.err
    assert "nothing was deleted" in shell.err
    assert folder.exists()
    assert shell("status", "--study", study) == 0


def test_a_yes_deletes_study_and_folder(
    study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("y\n", monkeypatch)
    assert shell("delete", "--study", study) == 0
    assert not folder.exists()
    assert shell("status", "--study", study) == 2


def test_nobody_there_to_answer_is_told_of_yes(
    study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("", monkeypatch)
    assert shell("delete", "--study", study) == 2
    assert "--yes" in shell.err
    assert folder.exists()


def test_a_study_at_work_is_refused(study: str, folder: Path, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        Driver.register(database, open_study(database, study))
    assert shell("delete", "--study", study, "--yes") == 2
    assert f"process {os.getpid()}" in shell.err
    assert folder.exists()


def test_the_working_folder_itself_is_never_deleted(
    study: str, shell: Shell, tmp_path: Path
) -> None:
    with open_database("sqlite:///studies.db") as database:
        open_study(database, study).set_user_attr("folder", ".")
    assert shell("delete", "--study", study, "--yes") == 0
    assert (tmp_path / "esol.yaml").exists()
