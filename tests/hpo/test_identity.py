"""Where a study's files are, seen from the folder where it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.identity import manifest_of, record_of, study_folder
from chemprop_hpo.hpo.resuming import sweep_of_study
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.studies import open_or_create_study


@pytest.fixture
def db(ready_sqlite_url: str) -> Iterator[Database]:
    with open_database(ready_sqlite_url) as database:
        yield database


@pytest.fixture
def begun_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the study was begun, and where the test stands."""
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in ("esol.csv", "held_out.csv"):
        (folder / name).write_text(f"smiles,y\nCCO,1.1\nCCC,{len(name)}\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def begin(db: Database, with_trial: bool = True, **sections: Any) -> LoadedSweep:
    data = {"file": "esol.csv", "test_file": "held_out.csv", "target_cols": ["y"]}
    loaded = load_stored({"data": data, "study": {"name": "esol"}, **sections})
    folder = loaded.config.study_folder.absolute()
    study, _ = open_or_create_study(
        db, "esol", record_of(loaded, manifest_of(loaded.config), folder)
    )
    folder.mkdir(parents=True)
    if with_trial:
        study.ask()
    return loaded


def taken_up(db: Database, *overrides: str) -> LoadedSweep:
    return sweep_of_study(db, "esol", "sqlite:///studies.db", overrides=overrides)


class TestFolder:
    def test_it_is_where_it_was_seen_from_anywhere(
        self, db: Database, begun_at: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = begin(db).config
        monkeypatch.chdir(elsewhere)
        assert study_folder(config, db) == begun_at / "studies" / "esol"

    @pytest.mark.parametrize("written", [{"folder": "files"}, {"folder": None}])
    def test_a_relative_folder_of_the_file_is_meant_as_it_was(
        self,
        written: dict[str, Any],
        db: Database,
        begun_at: Path,
        elsewhere: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        begin(db, study={"name": "esol", **written})
        monkeypatch.chdir(elsewhere)
        expected = begun_at / (written["folder"] or "studies/esol")
        assert study_folder(taken_up(db).config, db) == expected

    @pytest.mark.parametrize(
        ("override", "folder"),
        [("study.folder=here", "here"), ("data.output_dir=results", "results/esol")],
    )
    def test_one_that_is_named_now_wins(
        self, override: str, folder: str, db: Database, begun_at: Path
    ) -> None:
        begin(db)
        assert study_folder(taken_up(db, override).config, db) == begun_at / folder

    def test_where_it_is_gone_a_new_one_is_begun_and_said(
        self,
        db: Database,
        begun_at: Path,
        elsewhere: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        config = begin(db).config
        (begun_at / "studies").rename(elsewhere / "lost")
        monkeypatch.chdir(elsewhere)
        assert study_folder(config, db) == elsewhere / "studies" / "esol"
        assert f"not taken from {begun_at}/studies/esol but begun anew" in caplog.text
        assert "study.folder=PATH" in caplog.text

    def test_a_study_without_trials_has_nothing_to_lose(
        self,
        db: Database,
        begun_at: Path,
        elsewhere: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        config = begin(db, with_trial=False).config
        (begun_at / "studies").rename(elsewhere / "lost")
        monkeypatch.chdir(elsewhere)
        study_folder(config, db)
        assert "begun anew" not in caplog.text


class TestData:
    def test_they_are_read_from_where_they_were_and_that_is_said(
        self,
        db: Database,
        begun_at: Path,
        elsewhere: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        before = begin(db)
        monkeypatch.chdir(elsewhere)
        with caplog.at_level("INFO"):
            loaded = taken_up(db)
        assert loaded.config.data.file == begun_at / "esol.csv"
        assert loaded.config.data.test_file == begun_at / "held_out.csv"
        assert f"reading {begun_at}/esol.csv" in caplog.text
        # What is stored stays as it was written, so that a study can be moved again.
        assert loaded.stored["data"] == before.stored["data"]

    def test_a_fold_is_found_as_a_folder(
        self, db: Database, begun_at: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fold = begun_at / "split_0" / "fold_0"
        fold.mkdir(parents=True)
        for name in ("train.csv", "validation.csv"):
            (fold / name).write_text("smiles,y\nCCO,1.1\nCCC,2\n")
        begin(db, data={"data_dir": "split_0/fold_0", "target_cols": ["y"]})
        monkeypatch.chdir(elsewhere)
        assert taken_up(db).config.data.data_dir == fold

    def test_files_beside_the_present_folder_come_first(
        self, db: Database, begun_at: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(db)
        for name in ("esol.csv", "held_out.csv"):
            (begun_at / name).rename(elsewhere / name)
        monkeypatch.chdir(elsewhere)
        assert taken_up(db).config.data.file == Path("esol.csv")


class TestParts:
    def test_the_manifest_says_which_rows_of_a_file_went_where(self, tmp_path: Path) -> None:
        one, same, other = (self.parts_of(tmp_path, seed) for seed in (0, 0, 1))
        assert one == same
        assert one.keys() == {"train", "validation", "test"}
        assert all(one[name] != other[name] for name in one)

    def parts_of(self, folder: Path, seed: int) -> dict[str, str]:
        rows = "".join(f"{'C' * n}O,{n}\n" for n in range(1, 31))
        (folder / "alcohols.csv").write_text("smiles,y\n" + rows)
        data = {"file": str(folder / "alcohols.csv"), "target_cols": ["y"]}
        config = load_stored({"data": data, "seed": seed}).config
        parts: dict[str, str] = manifest_of(config, read_fold(config))["data"]["file"]["parts"]
        return parts
