"""Tables are read whole, cut into parts, and refused with all their problems named."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chemprop.utils import make_mol
from rdkit import Chem

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import DataConfig, SplitConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import file_fingerprints, read_fold

TRAIN = "smiles,y,z\nC,1,10\nCC,2,100\nCCC,,1000\n"
VALIDATION = "smiles,y,z\nCCCC,4,10\nCCCCC,5,100\n"


def _folder(
    folder: Path, train: str = TRAIN, validation: str = VALIDATION, **data: object
) -> SweepConfig:
    fold = folder / "split_0" / "fold_0"
    fold.mkdir(parents=True, exist_ok=True)
    (fold / "train.csv").write_text(train)
    (fold / "validation.csv").write_text(validation)
    return SweepConfig(data=DataConfig(**{"data_dir": fold, "target_cols": ("y", "z")} | data))


def _file(folder: Path, text: str, split: SplitConfig | None = None, **data: object) -> SweepConfig:
    path = folder / "data.csv"
    path.write_text(text)
    options = {"file": path, "target_cols": ("y",)} | data
    return SweepConfig(data=DataConfig(**options), split=split)


def _alkanes(count: int) -> str:
    return "smiles,y\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, count + 1))


def _problems(config: SweepConfig) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_fold(config)
    return str(caught.value).splitlines()


def _only_problem(config: SweepConfig) -> str:
    problems = _problems(config)
    assert len(problems) == 1, problems
    return problems[0]


# ------------------------------------------------------------------------ what is read


def test_a_folder_gives_its_two_parts(tmp_path: Path) -> None:
    tables = read_fold(_folder(tmp_path))
    assert tables.train.smiles == ("C", "CC", "CCC")
    assert tables.train.rows.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(tables.train.targets, [[1, 10], [2, 100], [np.nan, 1000]])
    assert tables.validation.targets.tolist() == [[4, 10], [5, 100]]
    assert tables.test is None


def test_a_file_is_cut_into_three_parts(tmp_path: Path) -> None:
    tables = read_fold(_file(tmp_path, _alkanes(20)))
    assert tables.test is not None
    assert (len(tables.train), len(tables.validation), len(tables.test)) == (16, 2, 2)
    for table in (tables.train, tables.validation, tables.test):
        lengths = [len(smiles) for smiles in table.smiles]
        assert table.targets[:, 0].tolist() == lengths
        assert table.rows.tolist() == [length + 1 for length in lengths]
        assert [molecule.GetNumAtoms() for molecule in table.molecules] == lengths


def test_splits_and_folds_of_a_file_can_be_asked_for(tmp_path: Path) -> None:
    config = _file(tmp_path, _alkanes(20), SplitConfig(n_folds=3, n_splits=2))
    folds = [read_fold(config, split=1, fold=fold).validation.smiles for fold in range(3)]
    assert len({smiles for fold in folds for smiles in fold}) == 18
    assert read_fold(config, split=0).validation.smiles != folds[0]


def test_nothing_is_set_aside_where_a_test_file_is_given(tmp_path: Path) -> None:
    config = _file(tmp_path, _alkanes(20), test_file=tmp_path / "never_opened.csv")
    tables = read_fold(config)
    assert tables.test is None
    assert len(tables.train) + len(tables.validation) == 20
    assert "never_opened.csv" in tables.report.lines()[-1]


def test_a_column_can_name_the_parts(tmp_path: Path) -> None:
    text = "part,smiles,y\ntrain,C,1\ntest,CC,2\nVal,CCC,3\ntrain,CCCC,4\n"
    config = _file(tmp_path, text, SplitConfig(method="column", column="part"))
    tables = read_fold(config)
    assert tables.train.smiles == ("C", "CCCC")
    assert tables.validation.smiles == ("CCC",)
    assert tables.test is not None
    assert tables.test.smiles == ("CC",)


def test_a_column_without_test_rows_gives_no_test_part(tmp_path: Path) -> None:
    text = "part,smiles,y\ntrain,C,1\nval,CCC,3\ntrain,CCCC,4\n"
    config = _file(tmp_path, text, SplitConfig(method="column", column="part"))
    assert read_fold(config).test is None


def test_blanks_around_cells_and_columns_are_stripped(tmp_path: Path) -> None:
    config = _folder(tmp_path, train=" smiles , y,z \n C ,1 , 3\nCC  , 2,4\n")
    tables = read_fold(config)
    assert tables.train.smiles == ("C", "CC")
    assert tables.train.targets.tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("word", ["", "nan", "NaN", "NA", "N/A", "null", "None"])
def test_the_usual_words_for_nothing_are_missing_labels(tmp_path: Path, word: str) -> None:
    tables = read_fold(_folder(tmp_path, train=f"smiles,y,z\nC,1,{word}\nCC,2,3\nCCC,3,4\n"))
    assert np.isnan(tables.train.targets[0, 1])


def test_a_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    config = _folder(tmp_path)
    path = tmp_path / "split_0/fold_0/train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TRAIN.replace("\n", "\r\n").encode() + b"\r\n,,\r\n")
    assert read_fold(config).train.rows.tolist() == [2, 3, 4]


def test_rows_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    train = 'note,smiles,y,z\n"two\nlines",C,1,2\n\n,CC,2,3\n,,,\n,CCC,4,nope\n'
    assert "in row 7 (1 label, such as 'nope')" in _only_problem(_folder(tmp_path, train=train))


def test_molecules_are_those_that_chemprop_would_make(tmp_path: Path) -> None:
    smiles = ("[H]C([H])[H]", "C[C@H](N)O", "[2H]OC", "c1cc[nH]c1")
    rows = "".join(f"{s},{i},{i}\n" for i, s in enumerate(smiles))
    tables = read_fold(_folder(tmp_path, train="smiles,y,z\n" + rows))
    expected = tuple(Chem.MolToSmiles(make_mol(text)) for text in smiles)
    assert tables.train.canonical == expected


@pytest.mark.parametrize(
    ("transform", "labels", "expected"),
    [("log10", (1, 10, 1000), (0, 1, 3)), ("log10p1", (0, 9, 99), (0, 1, 2))],
)
def test_transforms_are_applied(
    tmp_path: Path, transform: str, labels: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    rows = "".join(f"{'C' * (i + 1)},{label},1{i}\n" for i, label in enumerate(labels))
    config = _folder(tmp_path, train="smiles,y,z\n" + rows, target_transforms={"y": transform})
    tables = read_fold(config)
    np.testing.assert_allclose(tables.train.targets[:, 0], expected, atol=1e-12)
    assert tables.train.targets[:, 1].tolist() == [10, 11, 12]


# ------------------------------------------------------------------------ what is left out


def test_rows_without_any_label_are_left_out_and_named(tmp_path: Path) -> None:
    tables = read_fold(_folder(tmp_path, train=TRAIN + "CCCCCC,,\nCCCCCCC,na,\n"))
    assert tables.train.smiles == ("C", "CC", "CCC")
    assert tables.report.files[0].unlabelled == (5, 6)
    assert "  left out 2, no label at all: rows 5, 6" in tables.report.lines()


def test_a_few_unreadable_smiles_are_left_out_and_named(tmp_path: Path) -> None:
    train = TRAIN + "C1CC,3,3\n,3,3\n"
    tables = read_fold(_folder(tmp_path, train=train, max_unreadable_share=0.4))
    assert tables.train.smiles == ("C", "CC", "CCC")
    assert tables.report.files[0].unreadable == (5, 6)
    assert "  left out 2, RDKit cannot read the SMILES: rows 5, 6" in tables.report.lines()


def test_many_unreadable_smiles_are_refused(tmp_path: Path) -> None:
    problem = _only_problem(_folder(tmp_path, train=TRAIN + "C1CC,3,3\nx,3,3\n"))
    assert "column 'smiles': RDKit cannot read 2 of 5 SMILES, in rows 5, 6" in problem
    assert "data.max_unreadable_share" in problem


def test_rdkit_says_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    read_fold(_folder(tmp_path, train=TRAIN + "C1CC,3,3\n", max_unreadable_share=0.5))
    assert capfd.readouterr() == ("", "")


def test_the_report_counts_rows_labels_and_repeated_molecules(tmp_path: Path) -> None:
    tables = read_fold(_folder(tmp_path, train=TRAIN + "[CH3]C,4,40\n"))
    assert [file.rows for file in tables.report.files] == [4, 2]
    train, validation = tables.report.parts
    assert (train.name, train.rows, train.repeated) == ("train", 4, 1)
    assert train.labels == {"y": 3, "z": 4}
    assert validation.repeated == 0
    assert "train: 4 rows, 1 of them repeat a molecule" in tables.report.lines()
    assert "  labels: y 3, z 4" in tables.report.lines()


# ------------------------------------------------------------------------ what is refused


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    config = SweepConfig(data=DataConfig(data_dir=tmp_path / "nowhere", target_cols=("y",)))
    assert "nowhere: there is no such folder" in _only_problem(config)


def test_a_folder_above_the_fold_says_which_was_meant(tmp_path: Path) -> None:
    _folder(tmp_path)
    config = SweepConfig(data=DataConfig(data_dir=tmp_path, target_cols=("y",)))
    problem = _only_problem(config)
    assert "holds no train.csv and no validation.csv" in problem
    assert f"did you mean {tmp_path / 'split_0' / 'fold_0'}?" in problem


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    config = _folder(tmp_path)
    (tmp_path / "split_0/fold_0/validation.csv").unlink()
    assert "holds no validation.csv" in _only_problem(config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    config = SweepConfig(data=DataConfig(file=tmp_path / "no.csv", target_cols=("y",)))
    assert _only_problem(config) == f"{tmp_path / 'no.csv'}: there is no such file"


def test_no_table_at_all_says_what_to_give() -> None:
    # The loader refuses such a file; a configuration made in Python may still be one.
    data = DataConfig.model_construct(target_cols=("y",))
    config = SweepConfig.model_construct(data=data)
    assert "give data.data_dir or data.file" in _only_problem(config)


@pytest.mark.parametrize("text", ["", "\n\n", "smiles,y\n", "smiles,y\n\n,\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    assert "the table is empty" in _only_problem(_file(tmp_path, text))


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    config = _file(tmp_path, "")
    (tmp_path / "data.csv").write_bytes("smiles,y\nC,1 µM\n".encode("latin-1"))
    assert "is not UTF-8 text" in _only_problem(config)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    config = SweepConfig(data=DataConfig(file=tmp_path, target_cols=("y",)))
    assert "cannot be read" in _only_problem(config)


def test_a_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    problem = _only_problem(_file(tmp_path, "smiles,y\nC,1\nCC,2,5\n"))
    assert "row 3 has 3 cells, the header has 2" in problem


def test_a_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    config = _folder(tmp_path, target_cols=("Y", "logz"))
    problems = _problems(config)
    assert len(problems) == 4
    assert "there is no column 'Y'; did you mean 'y'?" in problems[0]
    assert "no column 'logz'; the columns are: 'smiles', 'y', 'z'" in problems[1]


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    problem = _only_problem(_file(tmp_path, "smiles,y,y\nC,1,2\n"))
    assert "2 columns are called 'y'" in problem


@pytest.mark.parametrize("label", [">5", "1,5", "high", "1_000", "0x10", "5 mM"])
def test_a_label_that_is_no_number_is_named(tmp_path: Path, label: str) -> None:
    problem = _only_problem(_folder(tmp_path, train=TRAIN + f'CCCCCC,"{label}",3\n'))
    assert "train.csv: column 'y': labels that are no number, in row 5" in problem
    assert repr(label) in problem


@pytest.mark.parametrize("label", ["inf", "-Infinity", "1e999"])
def test_an_infinite_label_is_named(tmp_path: Path, label: str) -> None:
    problem = _only_problem(_folder(tmp_path, train=TRAIN + f"CCCCCC,{label},3\n"))
    assert "column 'y': infinite labels, in row 5" in problem


def test_more_than_ten_rows_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * n},bad\n" for n in range(1, 16))
    problem = _only_problem(_file(tmp_path, "smiles,y\n" + rows))
    assert "in rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 5 more (15 labels" in problem


@pytest.mark.parametrize(("transform", "label"), [("log10", "0"), ("log10p1", "-1")])
def test_a_label_that_its_transform_cannot_take_is_named(
    tmp_path: Path, transform: str, label: str
) -> None:
    config = _folder(
        tmp_path, train=TRAIN + f"CCCCCC,{label},3\n", target_transforms={"y": transform}
    )
    problem = _only_problem(config)
    assert f"labels of {label} or less, which {transform} cannot take, in row 5" in problem


def test_a_classification_takes_zero_and_one_only(tmp_path: Path) -> None:
    train = "smiles,y,z\nC,0,1\nCC,1.0,\nCCC,2,0\n"
    validation = "smiles,y,z\nCCCC,0,1\n"
    config = _folder(tmp_path, train, validation).model_copy(update={"task": "classification"})
    problem = _only_problem(config)
    assert "column 'y': labels of a classification other than 0 and 1, in row 4" in problem
    (tmp_path / "split_0/fold_0/train.csv").write_text(train.replace("2,0", "1,0"))
    assert read_fold(config).train.targets[:, 0].tolist() == [0, 1, 1]


def test_all_problems_of_both_tables_are_said_at_once(tmp_path: Path) -> None:
    config = _folder(tmp_path, train="smiles,y,z\nC1,bad,inf\n", validation="smiles,z\nC,1\n")
    problems = _problems(config)
    assert [line.split(": ")[0].rsplit("/")[-1] for line in problems] == ["train.csv"] * 3 + [
        "validation.csv"
    ]


def test_a_part_without_usable_rows_is_refused(tmp_path: Path) -> None:
    problem = _only_problem(_folder(tmp_path, validation="smiles,y,z\nCCCC,,\n"))
    assert "validation.csv: no row has both a molecule" in problem


def test_a_part_that_no_group_fits_into_is_refused(tmp_path: Path) -> None:
    rings = "smiles,y\n" + "".join(f"c1ccccc1{'C' * n},{n}\n" for n in range(20))
    config = _file(tmp_path, rings, SplitConfig(method="scaffold"))
    problems = _problems(config)
    assert "the validation part is empty" in problems[0]
    assert "another split.method than scaffold" in problems[0]
    assert "the test part is empty" in problems[1]


def test_a_constant_target_is_refused(tmp_path: Path) -> None:
    problem = _only_problem(_folder(tmp_path, train="smiles,y,z\nC,1,3\nCC,2,3\nCCC,3,\n"))
    assert "target 'z' is constant in the training part (2 labels)" in problem


def test_a_target_without_training_or_validation_labels_is_refused(tmp_path: Path) -> None:
    config = _folder(
        tmp_path, train="smiles,y,z\nC,1,\nCC,2,\n", validation="smiles,y,z\nCCCC,,1\n"
    )
    problems = _problems(config)
    assert "target 'y' has no label in the validation part" in problems[0]
    assert "target 'z' has no label in the training part" in problems[1]


@pytest.mark.parametrize("metric", ["val_r2", "val_r2/z"])
def test_a_metric_that_the_validation_labels_do_not_define_is_refused(
    tmp_path: Path, metric: str
) -> None:
    config = _folder(tmp_path, validation="smiles,y,z\nCCCC,5,1\nCCCCC,5,1\nCCCCCC,,1\n")
    problem = _only_problem(config.model_copy(update={"metric": metric}))
    assert problem.endswith(
        f"the labels of the validation part are all the same, so that {metric} is not defined; "
        "give it other rows, or choose another metric"
    )
    read_fold(config.model_copy(update={"metric": "val_rmse"}))


def test_a_mean_over_targets_needs_only_one_that_defines_it(tmp_path: Path) -> None:
    config = _folder(tmp_path, validation="smiles,y,z\nCCCC,5,1\nCCCCC,6,1\n")
    read_fold(config.model_copy(update={"metric": "val_r2"}))
    read_fold(config.model_copy(update={"metric": "val_transformed_r2/y"}))
    _only_problem(config.model_copy(update={"metric": "val_r2/z"}))


def test_a_molecule_in_both_parts_is_refused_however_it_is_spelt(tmp_path: Path) -> None:
    config = _folder(tmp_path, VALIDATION + "OCC,1,2\n", TRAIN + "CCO,1,2\n")
    problem = _only_problem(config)
    assert "1 molecule of the validation part (row 5) is also in the train part (row 4" in problem
    assert "data.allow_duplicates" in problem


def test_shared_molecules_are_counted_where_they_are_allowed(tmp_path: Path) -> None:
    validation = VALIDATION + "C,1,2\n[CH3]C,3,4\n"
    tables = read_fold(_folder(tmp_path, validation=validation, allow_duplicates=True))
    assert tables.report.shared == 2
    assert "2 molecules in more than one part" in tables.report.lines()


def test_a_column_that_puts_a_molecule_into_training_and_test_is_refused(tmp_path: Path) -> None:
    text = "part,smiles,y\ntrain,C,1\ntrain,CC,2\nval,CCC,3\ntest,CC,4\n"
    config = _file(tmp_path, text, SplitConfig(method="column", column="part"))
    problem = _only_problem(config)
    assert "of the test part (row 5) is also in the train part (row 3" in problem


def test_equal_molecules_of_a_file_never_meet_across_parts(tmp_path: Path) -> None:
    text = _alkanes(20) + "[CH4],1\n[CH3]C,2\nC(C)C,3\n"
    for seed in range(8):
        config = _file(tmp_path, text, SplitConfig(val_fraction=0.3, seed=seed))
        assert read_fold(config).report.shared == 0


def test_a_word_that_names_no_part_is_placed(tmp_path: Path) -> None:
    text = "part,smiles,y\ntrain,C,1\nother,CC,2\n"
    problem = _only_problem(_file(tmp_path, text, SplitConfig(method="column", column="part")))
    assert "data.csv: column 'part': 'other'" in problem
    assert "row 3" in problem


def test_a_column_has_no_second_fold(tmp_path: Path) -> None:
    text = "part,smiles,y\ntrain,C,1\ntrain,CC,2\nval,CCC,3\n"
    config = _file(tmp_path, text, SplitConfig(method="column", column="part"))
    with pytest.raises(DataError, match="there is no split 0 fold 1"):
        read_fold(config, fold=1)


def test_a_folder_is_one_fold_and_holds_no_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fold_0: is one fold; there is no split 1 fold 0 in it"):
        read_fold(_folder(tmp_path), split=1)


# ------------------------------------------------------------------------ fingerprints


def test_fingerprints_are_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = _folder(tmp_path / "a"), _folder(tmp_path / "b")
    fingerprints = file_fingerprints(here)
    assert fingerprints == file_fingerprints(there)
    assert fingerprints["train"] == {
        "sha256": hashlib.sha256(TRAIN.encode()).hexdigest(),
        "rows": 3,
    }
    assert set(fingerprints) == {"train", "validation"}


def test_a_changed_label_changes_the_fingerprint(tmp_path: Path) -> None:
    before = file_fingerprints(_folder(tmp_path))
    after = file_fingerprints(_folder(tmp_path, train=TRAIN.replace("10\n", "11\n")))
    assert before["train"] != after["train"]
    assert before["validation"] == after["validation"]


def test_files_for_later_are_fingerprinted_too(tmp_path: Path) -> None:
    for name in ("test", "blind"):
        (tmp_path / f"{name}.csv").write_text("anything\n1\n2\n")
    config = _file(
        tmp_path,
        _alkanes(4),
        test_file=tmp_path / "test.csv",
        blind_file=tmp_path / "blind.csv",
    )
    fingerprints = file_fingerprints(config)
    assert list(fingerprints) == ["file", "test_file", "blind_file"]
    assert [fingerprint["rows"] for fingerprint in fingerprints.values()] == [4, 2, 2]


def test_every_missing_file_is_named_in_one_error(tmp_path: Path) -> None:
    config = SweepConfig(
        data=DataConfig(
            file=tmp_path / "one.csv", test_file=tmp_path / "two.csv", target_cols=("y",)
        )
    )
    with pytest.raises(DataError) as caught:
        file_fingerprints(config)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "one.csv"),
        str(tmp_path / "two.csv"),
    ]


def test_reading_a_fold_needs_no_torch() -> None:
    program = "import chemprop_hpo.hpo.chemistry.tables.data, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
