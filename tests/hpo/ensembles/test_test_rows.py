"""Test rows: where they come from, and what is said of molecules that were trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import training_rows
from chemprop_hpo.hpo.ensembles.test_rows import read_test_rows
from tests.hpo.ensembles.scenes import config_of, fold, table

TRAIN, VALIDATION = table(["CCO", "CC", "CCC"]), table(["CCCC"], path="validation.csv")


def test_a_split_s_own_test_rows_are_taken(tmp_path: Path) -> None:
    test = table(["CCCCC"], rows=[9])
    tables = fold(TRAIN, VALIDATION, test)
    assert read_test_rows(config_of(tmp_path), tables, training_rows([tables])) == (test, None)


@pytest.mark.parametrize("test", [None, table([])])
def test_without_test_rows_there_is_nothing_to_say(tmp_path: Path, test: object) -> None:
    tables = fold(TRAIN, VALIDATION, test)  # type: ignore[arg-type]  # a Table or None
    assert read_test_rows(config_of(tmp_path), tables, training_rows([tables])) == (None, None)


def with_file(folder: Path, *lines: str, allow: bool = False) -> tuple[object, object]:
    (folder / "test.csv").write_text("smiles,y\n" + "\n".join(lines) + "\n")
    data = {"test_file": str(folder / "test.csv"), "allow_duplicates": allow}
    tables = fold(TRAIN, VALIDATION)
    return read_test_rows(config_of(folder, data=data), tables, training_rows([tables]))


def test_a_test_file_is_read_with_its_labels(tmp_path: Path) -> None:
    found, warning = with_file(tmp_path, "CN,1.5", "CCN,2.5")
    assert warning is None
    assert found.smiles == ("CN", "CCN")  # type: ignore[attr-defined]  # a Table
    assert found.targets.tolist() == [[1.5], [2.5]]  # type: ignore[attr-defined]


def test_the_transform_of_the_targets_is_applied_to_test_rows(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("smiles,y\nCN,9\n")
    data = {"test_file": str(tmp_path / "test.csv"), "target_transforms": {"y": "log10p1"}}
    tables = fold(TRAIN, VALIDATION)
    found, _ = read_test_rows(config_of(tmp_path, data=data), tables, training_rows([tables]))
    assert found is not None
    assert found.targets == pytest.approx(np.array([[1.0]]))


def test_training_rows_that_stand_in_the_test_file_are_counted_and_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        with_file(tmp_path, "CN,1", "OCC,2", "C(CC)C,3")
    assert str(caught.value) == (
        f"{tmp_path}/test.csv: 2 training rows have a molecule that stands among the test rows "
        "too (rows 3, 4); take them out of one side, or allow it: data.allow_duplicates=true"
    )


def test_where_it_is_allowed_the_same_is_a_warning(tmp_path: Path) -> None:
    found, warning = with_file(tmp_path, "CN,1", "OCC,2", allow=True)
    assert len(found) == 2  # type: ignore[arg-type]  # a Table
    assert warning == (
        f"{tmp_path}/test.csv: 1 training row has a molecule that stands among the test rows "
        "too (row 3); the test figures flatter"
    )


def test_a_repeated_training_row_counts_each_time(tmp_path: Path) -> None:
    (tmp_path / "molecules.csv").write_text(
        "smiles,y\n" + "\n".join(f"{s},{i}" for i, s in enumerate(["CCO", "OCC", "C", "CC"])) + "\n"
    )
    (tmp_path / "test.csv").write_text("smiles,y\nCCO,1\n")
    config = config_of(
        tmp_path,
        data={"test_file": str(tmp_path / "test.csv")},
        split={"method": "random", "test_fraction": 0.0, "n_folds": 2},
    )
    tables = read_fold(config)
    with pytest.raises(DataError, match="2 training rows have a molecule"):
        read_test_rows(config, tables, training_rows([tables]))
