"""The folds of an ensemble are listed, chosen, read once, and what is wrong is said of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.configs.schema import DataConfig, SplitConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables import data
from chemprop_hpo.hpo.chemistry.tables.folds import (
    FOLDS,
    FoldPlace,
    fold_list,
    folding_note,
    own_place,
    read_folds,
)

VALIDATION = "smiles,y\nCCCC,4\nCCCCC,5\n"


def of_folder(root: Path, own: str = "split_0/fold_0") -> SweepConfig:
    return SweepConfig(data=DataConfig(data_dir=root / own, target_cols=("y",)))


def of_file(folder: Path, split: SplitConfig | None = None, rows: int = 30) -> SweepConfig:
    path = folder / "data.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, rows + 1)))
    return SweepConfig(data=DataConfig(file=path, target_cols=("y",)), split=split)


def lay_out(root: Path, *names: str, train: str = "smiles,y\nC,1\nCC,2\n") -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "train.csv").write_text(train)
        (root / name / "validation.csv").write_text(VALIDATION)


def numbers(places: list[FoldPlace]) -> list[tuple[int, int]]:
    return [(place.split, place.fold) for place in places]


def test_the_siblings_of_a_fold_are_found_whatever_stands_beside_them(tmp_path: Path) -> None:
    lay_out(tmp_path, "split_0/fold_0", "split_0/fold_1", "split_10/fold_0", "split_10/fold_1")
    lay_out(tmp_path, "split_0/fold_old", "split_all/fold_0", "other")
    (tmp_path / "split_0" / "fold_7").write_text("a file")
    places = fold_list(of_folder(tmp_path))
    assert numbers(places) == [(0, 0), (0, 1), (10, 0), (10, 1)]
    assert places[2].folder == tmp_path / "split_10" / "fold_0"


def test_folds_without_splits_are_split_0_and_a_folder_of_another_name_stands_alone(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path, "fold_1", "fold_2", "published")
    assert numbers(fold_list(of_folder(tmp_path, "fold_2"))) == [(0, 1), (0, 2)]
    assert own_place(of_folder(tmp_path, "fold_2"))[:2] == (0, 2)
    assert fold_list(of_folder(tmp_path, "published")) == [
        own_place(of_folder(tmp_path, "published"))
    ]


def test_splits_and_folds_can_be_chosen(tmp_path: Path) -> None:
    config = of_file(tmp_path, SplitConfig(n_splits=3, n_folds=4))
    assert len(fold_list(config)) == 12
    assert numbers(fold_list(config, [2, 0], [3])) == [(0, 3), (2, 3)]
    with pytest.raises(UsageError, match=r"no split 5, 7 of .*data\.csv; there are splits 0, 1, 2"):
        fold_list(config, [7, 1, 5])


def test_a_fold_that_one_split_lacks_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "split_0/fold_0", "split_0/fold_1", "split_1/fold_0")
    config = of_folder(tmp_path)
    with pytest.raises(DataError, match="there is no split 1 fold 1"):
        fold_list(config)
    assert numbers(fold_list(config, folds=[0])) == [(0, 0), (1, 0)]
    assert numbers(fold_list(config, splits=[1])) == [(1, 0)]


def test_a_file_without_folds_is_cut_into_five_that_leave_out_each_row_once(
    tmp_path: Path,
) -> None:
    config = of_file(tmp_path, SplitConfig(val_fraction=0.2))
    assert f"cut into {FOLDS} folds" in (folding_note(config) or "")
    tables = read_folds(config, fold_list(config))
    assert list(tables) == [(0, fold) for fold in range(5)]
    left_out = [name for fold in tables.values() for name in fold.validation.canonical]
    everything = {*tables[0, 0].train.canonical, *tables[0, 0].validation.canonical}
    assert sorted(left_out) == sorted(everything)
    assert len(everything) == 27


def test_the_folds_are_those_that_the_sweep_would_read(tmp_path: Path) -> None:
    config = of_file(tmp_path, SplitConfig(n_splits=2, n_folds=3, method="scaffold"))
    path = config.data.file
    assert path is not None
    path.write_text("smiles,y\n" + "".join(f"C1{'C' * n}1,{n}\n" for n in range(2, 30)))
    assert folding_note(config) is None
    for (split, fold), tables in read_folds(config, fold_list(config)).items():
        alone = data.read_fold(config, split, fold)
        assert tables.train.smiles == alone.train.smiles
        assert tables.validation.smiles == alone.validation.smiles
        assert tables.test is not None
        assert alone.test is not None
        assert tables.test.smiles == alone.test.smiles


def test_a_file_is_read_once_for_all_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = data.read_table, []
    monkeypatch.setattr(data, "read_table", lambda *a: calls.append(a) or read(*a))
    config = of_file(tmp_path, SplitConfig(n_splits=2, n_folds=3))
    assert len(read_folds(config, fold_list(config))) == 6
    assert len(calls) == 1


def test_a_column_that_names_the_parts_gives_one_fold(tmp_path: Path) -> None:
    config = of_file(tmp_path, SplitConfig(method="column", column="part"))
    path = config.data.file
    assert path is not None
    path.write_text("part,smiles,y\ntrain,C,1\ntrain,CC,2\nval,CCC,3\n")
    assert folding_note(config) is None
    assert read_folds(config, fold_list(config))[0, 0].validation.smiles == ("CCC",)
    with pytest.raises(UsageError, match="there is fold 0"):
        fold_list(config, folds=[1])


def test_every_fold_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "split_0/fold_0", "split_2/fold_0")
    lay_out(tmp_path, "split_1/fold_0", train="smiles,y\nC,7\nCC,7\n")
    (tmp_path / "split_2/fold_0/validation.csv").unlink()
    config = of_folder(tmp_path)
    with pytest.raises(DataError) as caught:
        read_folds(config, fold_list(config))
    constant, missing, advice = str(caught.value).splitlines()
    assert re.match(r"split 1 fold 0: .*train\.csv: target 'y' is constant", constant)
    assert re.match(r"split 2 fold 0: .*holds no validation\.csv", missing)
    assert advice == "--splits and --folds choose those that can be used"


def test_a_fold_of_a_file_whose_training_labels_are_constant_is_named(tmp_path: Path) -> None:
    config = of_file(tmp_path, SplitConfig(n_folds=2, test_fraction=0.0))
    path = config.data.file
    assert path is not None
    path.write_text("smiles,y\nC,1\nCC,1\nCCC,1\nCCCC,2\n")
    with pytest.raises(DataError, match=r"^split 0 fold \d: .*is constant in the training part"):
        read_folds(config, fold_list(config))


def test_a_folder_that_is_not_there_is_said_when_it_is_read(tmp_path: Path) -> None:
    config = of_folder(tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        read_folds(config, fold_list(config))


def test_equal_molecules_of_folders_are_one_object(tmp_path: Path) -> None:
    lay_out(tmp_path, "split_0/fold_0", "split_0/fold_1")
    config = of_folder(tmp_path)
    first, second = read_folds(config, fold_list(config)).values()
    shared = set(map(id, first.train.molecules)) & set(map(id, second.train.molecules))
    assert first.train.smiles == second.train.smiles
    assert len(shared) == len(set(first.train.smiles))
