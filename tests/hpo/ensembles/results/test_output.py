"""The folder that ensembles are written to: what may stand there, and what gives way."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.ensembles.results.output import (
    check_output,
    rank_folder,
    remove_other_ranks,
    remove_other_tables,
    remove_plots,
    writing_alone,
)
from chemprop_hpo.hpo.predictor.manifest import Manifest, Target, manifest_text
from chemprop_hpo.hpo.report.drawing import finished, house_style


def predictor(folder: Path, study: str = "esol") -> Path:
    """Write the manifest of a predictor without files."""
    folder.mkdir(parents=True)
    manifest = {
        "format": 1,
        "task": "regression",
        "targets": (Target(name="y"),),
        "smiles_col": "smiles",
        "members": (
            {
                "file": "models/a.pt",
                "sha256": "0" * 64,
                "bytes": 1,
                "rank": 1,
                "trial": 0,
                "split": 0,
                "fold": 0,
                "seed": 0,
                "best_epoch": 1,
                "epochs": 1,
                "weights": (1.0,),
                "atom_features": "V2",
            },
        ),
        "configurations": ({"rank": 1, "trial": 0, "params": {}},),
        "calibration": {"y": None},
        "far_below": 0.3,
        "data": {},
        "test_scored": None,
        "versions": {},
        "study": study,
        "created": "2026-11-22T08:00:00+00:00",
        "files": {},
    }
    text = manifest_text(Manifest.model_validate(manifest))
    (folder / "manifest.json").write_text(text)
    return folder


def made_before(folder: Path, study: str = "esol", ranks: int = 2) -> None:
    for name in (*(rank_folder(r) for r in range(1, ranks + 1)), "combined"):
        predictor(folder / name, study)
    (folder / "plots").mkdir()
    for name in ("report.html", "out_of_fold.csv", "test_predictions.csv", "figures.csv"):
        (folder / name).touch()
    (folder / "blind_predictions.csv").touch()


def test_a_new_folder_an_empty_one_and_one_written_before_are_fine(tmp_path: Path) -> None:
    check_output(tmp_path / "new", "esol")
    assert not (tmp_path / "new").exists()
    check_output(tmp_path, "esol")
    made_before(tmp_path)
    check_output(tmp_path, "esol")


def test_what_a_kill_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    made_before(tmp_path)
    (tmp_path / ".rank_1.0123abcd.tmp").mkdir()
    (tmp_path / ".combined.0123abcd.old").mkdir()
    (tmp_path / ".figures.csv.0123abcd.tmp").touch()
    check_output(tmp_path, "esol")


def test_hidden_files_make_no_folder_somebody_else_s(tmp_path: Path) -> None:
    for name in (".DS_Store", ".nfs00000000", ".gitignore"):
        (tmp_path / name).touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    check_output(tmp_path, "esol")
    remove_other_ranks(tmp_path, 1)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.touch()
    with pytest.raises(UsageError, match=r"out\.csv: is a file; give -o a folder"):
        check_output(path, "esol")


def test_strange_files_are_named_and_refused(tmp_path: Path) -> None:
    made_before(tmp_path)
    for name in ("thesis.tex", "rank_1_old", "data.csv", "zebra"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path, "esol")
    assert str(caught.value) == (
        f"{tmp_path}: holds data.csv, rank_1_old, thesis.tex, which no ensemble writes; "
        "give -o a folder that is empty or does not exist"
    )


def test_ensembles_of_another_study_are_refused(tmp_path: Path) -> None:
    made_before(tmp_path, study="solubility")
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path, "esol")
    assert str(caught.value) == (
        f"{tmp_path}: holds ensembles of study 'solubility'; give -o another folder"
    )


@pytest.mark.parametrize("text", ["{", json.dumps({"study": "esol"})])
def test_a_predictor_that_cannot_be_read_is_not_overwritten(tmp_path: Path, text: str) -> None:
    made_before(tmp_path)
    manifest = tmp_path / "rank_2" / "manifest.json"
    manifest.write_text(text)
    with pytest.raises(UsageError, match=r"rank_2.*; remove .*rank_2, or give -o another folder"):
        check_output(tmp_path, "esol")
    assert manifest.read_text() == text


def test_ranks_of_an_earlier_command_are_removed(tmp_path: Path) -> None:
    made_before(tmp_path, ranks=4)
    (tmp_path / "rank_9").mkdir()  # no predictor
    (tmp_path / "rank_9" / "mine.txt").touch()
    remove_other_ranks(tmp_path, 2)
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["combined", "plots", "rank_1", "rank_2", "rank_9"]


def test_tables_and_pictures_of_an_earlier_command_are_removed(tmp_path: Path) -> None:
    made_before(tmp_path)
    with house_style():
        drawn = finished(Figure(), "parity_09_gone.png", "", "").png
    (tmp_path / "plots" / "parity_09_gone.png").write_bytes(drawn)
    (tmp_path / "plots" / "mine.png").write_bytes(drawn.replace(b"chemprop-hpo", b"Microsoft PP"))
    remove_other_tables(tmp_path, ["figures.csv", "out_of_fold.csv"])
    remove_plots(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert files == ["figures.csv", "out_of_fold.csv", "report.html"]
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["mine.png"]
    remove_other_tables(tmp_path, ["figures.csv", "out_of_fold.csv"])  # nothing left to remove
    remove_plots(tmp_path / "elsewhere")


def test_what_a_kill_left_behind_is_removed(tmp_path: Path) -> None:
    made_before(tmp_path)
    predictor(tmp_path / ".rank_1.0123abcd.tmp", "solubility")
    (tmp_path / ".combined.0123abcd.old").mkdir()
    (tmp_path / ".mine.tmp").mkdir()
    check_output(tmp_path, "esol")
    remove_other_ranks(tmp_path, 2)
    assert [p.name for p in tmp_path.glob(".*")] == [".mine.tmp"]


def test_two_commands_write_to_a_folder_one_after_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def second() -> None:
        with writing_alone(tmp_path / "out"):
            order.append("second")

    thread = threading.Thread(target=second)
    with caplog.at_level("INFO"), writing_alone(tmp_path / "out"):
        thread.start()
        while "another command writes to" not in caplog.text and thread.is_alive():
            time.sleep(0.01)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


# ------------------------------------------------------------------ places of somebody else


@pytest.fixture
def others() -> Iterator[Path]:
    """A folder which this user can reach and not write; pytest's own another cannot even enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield folder
        os.seteuid(os.getuid())
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def may_only_be_read(folder: Path) -> None:
    """Take away the right to write, and that of a user who may write everything."""
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)


def test_a_place_that_cannot_be_written_is_found_out_before_anything(
    tmp_path: Path, others: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file/out", "link", "x" * 300):
        with pytest.raises(UsageError) as caught:
            check_output(tmp_path / name, "esol")
        assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written (")
        assert str(caught.value).endswith("); give -o another folder")
    may_only_be_read(others)
    for folder in (others, others / "out", others / "more" / "out"):
        with pytest.raises(UsageError) as caught:
            check_output(folder, "esol")
        assert str(caught.value) == (
            f"{others}: cannot be written (Permission denied); give -o another folder"
        )


@pytest.mark.parametrize("name", ["rank_2", "plots"])
def test_an_inner_folder_of_somebody_else_is_found_out_before_anything(
    others: Path, name: str
) -> None:
    made_before(others)
    for folder in (others, *others.rglob("*")):
        folder.chmod(0o777)
    may_only_be_read(others / name)
    with pytest.raises(UsageError, match=rf"/{name}: cannot be written \(Permission denied\)"):
        check_output(others, "esol")


def test_a_folder_that_can_be_written_may_lie_in_one_that_cannot(others: Path) -> None:
    (others / "out").mkdir()
    (others / "out").chmod(0o777)
    may_only_be_read(others)
    for _ in range(2):
        check_output(others / "out", "esol")
        with writing_alone(others / "out"):
            (others / "out" / "figures.csv").touch()


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    made_before(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    check_output(tmp_path / "out", "esol")
    check_output(tmp_path / "new" / "out", "esol")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_was_taken_away_meanwhile_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = r"file/out: cannot be written \(Not a directory\); give -o another folder"
    with pytest.raises(UsageError, match=text), writing_alone(tmp_path / "file" / "out"):
        pass
