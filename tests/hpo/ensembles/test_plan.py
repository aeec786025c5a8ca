"""What is trained on what: splits, folds, test rows, and what is read for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import EnsemblePlan, Request, plan_ensembles
from tests.hpo.ensembles.small_studies import molecules, small_sweep, study_of, write_table

THREE_SPLITS = {"method": "random", "test_fraction": 0.2, "n_folds": 2, "n_splits": 3}


def planned(loaded: LoadedSweep, k: int = 2, **wanted: Any) -> EnsemblePlan:
    study = study_of(loaded, [0.3, 0.2, 0.4])
    own = read_fold(loaded.config)
    return plan_ensembles(study, loaded.config, Request(Choice(k), **wanted), own)


def members(plan: EnsemblePlan) -> list[tuple[int, int, int]]:
    return [job.key[:3] for job in plan.jobs]


def test_each_rank_has_a_member_for_each_split_and_fold(tmp_path: Path) -> None:
    plan = planned(small_sweep(tmp_path, split=THREE_SPLITS))
    places = [(split, fold) for split in range(3) for fold in range(2)]
    assert list(plan.folds) == places
    assert members(plan) == [(trial, *place) for trial in (1, 0) for place in places]
    assert plan.ranks == {1: 1, 0: 2}
    assert len({job.spec.seed for job in plan.jobs}) == 12
    assert {job.spec.optimization.max_lr for job in plan.jobs[:6]} == {0.01}
    assert {job.spec.optimization.max_lr for job in plan.jobs[6:]} == {0.02}
    assert (plan.notes, plan.warnings) == ((), ())


def test_the_test_rows_are_those_that_the_split_set_aside(tmp_path: Path) -> None:
    plan = planned(small_sweep(tmp_path))
    assert plan.test is not None
    assert len(plan.test) == 12
    assert set(plan.rows.canonical).isdisjoint(plan.test.canonical)
    assert len(plan.rows) == 48


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({"splits": (2,)}, [(2, 0), (2, 1)]),
        ({"folds": (1,)}, [(0, 1), (1, 1), (2, 1)]),
        ({"splits": (0, 2), "folds": (0,)}, [(0, 0), (2, 0)]),
    ],
)
def test_splits_and_folds_can_be_chosen(
    tmp_path: Path, wanted: dict[str, Any], places: list[tuple[int, int]]
) -> None:
    plan = planned(small_sweep(tmp_path, split=THREE_SPLITS), 1, **wanted)
    assert list(plan.folds) == places


def test_the_configuration_s_choice_counts_where_the_command_line_has_none(
    tmp_path: Path,
) -> None:
    wanted = {"ensemble_splits": [0, 1], "ensemble_folds": [1]}
    loaded = small_sweep(tmp_path, split=THREE_SPLITS, transfer_learning=wanted)
    assert list(planned(loaded, 1).folds) == [(0, 1), (1, 1)]
    assert list(planned(loaded, 1, splits=(2,)).folds) == [(2, 1)]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"splits": (9,)}, "there is no split 9 of .*molecules.csv; there is split 0"),
        ({"folds": (1, 5, 7)}, "there is no fold 5, 7 of .*molecules.csv; there are folds 0, 1"),
    ],
)
def test_a_split_or_fold_that_does_not_exist_is_named_with_those_that_do(
    tmp_path: Path, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planned(small_sweep(tmp_path), 1, **wanted)


def test_without_full_cross_validation_the_sweep_s_own_fold_is_all(tmp_path: Path) -> None:
    cut = {"method": "random", "test_fraction": 0.2, "val_fraction": 0.1}
    own = {"transfer_learning": {"train_full_cv": False}, "split": cut}
    loaded = small_sweep(tmp_path, **own)
    plan, fold = planned(loaded), read_fold(loaded.config)
    assert list(plan.folds) == [(0, 0)]
    assert plan.folds[0, 0].train.rows.tolist() == fold.train.rows.tolist()
    assert plan.folds[0, 0].validation.rows.tolist() == fold.validation.rows.tolist()
    assert len(fold.validation) == 6
    assert plan.notes == ()
    # A split that is asked for is cut into folds, as ever.
    assert len(planned(loaded, 1, splits=(0,)).folds) == 5


def test_a_file_that_is_not_cut_into_folds_gets_five_and_it_is_said(tmp_path: Path) -> None:
    cut = {"method": "random", "test_fraction": 0.2, "val_fraction": 0.1}
    plan = planned(small_sweep(tmp_path, split=cut), 1)
    assert list(plan.folds) == [(0, fold) for fold in range(5)]
    assert len(plan.notes) == 1
    assert plan.notes[0].startswith("split.n_folds is not set")


def test_the_fingerprint_of_the_file_is_kept(tmp_path: Path) -> None:
    write_table(tmp_path / "test.csv", ["CCNCCN", "NCCCN"])
    plan = planned(small_sweep(tmp_path, data={"test_file": str(tmp_path / "test.csv")}), 1)
    assert plan.data.keys() == {"file", "test_file"}
    assert plan.data["file"]["rows"] == 60
    assert plan.test is not None
    assert len(plan.test) == 2


def test_training_rows_in_the_test_file_are_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    write_table(tmp_path / "test.csv", molecules()[:3])
    data = {"test_file": str(tmp_path / "test.csv")}
    with pytest.raises(DataError, match="3 training rows have a molecule.*rows 2, 3, 4"):
        planned(small_sweep(tmp_path, data=data), 1)
    (tmp_path / "allowed").mkdir()
    allowed = small_sweep(tmp_path / "allowed", data=data | {"allow_duplicates": True})
    (warning,) = planned(allowed, 1).warnings
    assert "3 training rows" in warning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,SMILES\na,CCO\n", "'smiles'"),
        ("smiles,polar_mean\nCCO,1\n", "has the column 'polar_mean', which the predictions"),
    ],
)
def test_a_blind_file_that_could_not_be_predicted_is_refused_before_anything_is_trained(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "blind.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        planned(small_sweep(tmp_path, data={"blind_file": str(tmp_path / "blind.csv")}), 1)


# ------------------------------------------------------------------ folders


def in_folders(folder: Path, **data: Any) -> LoadedSweep:
    """Make a study of folders of folds, two of split 0 and two of split 1."""
    rows = molecules()
    for split in (0, 1):
        order = np.random.default_rng(split).permutation(60)
        for fold in (0, 1):
            here = folder / f"split_{split}" / f"fold_{fold}"
            half = np.arange(60) % 2 == fold
            write_table(here / "train.csv", [rows[i] for i in order[~half]])
            write_table(here / "validation.csv", [rows[i] for i in order[half]])
    data = {"file": None, "data_dir": str(folder / "split_0" / "fold_0")} | data
    return small_sweep(folder, split=None, data=data)


def in_folders_with(loaded: LoadedSweep, **data: Any) -> LoadedSweep:
    return load_stored(loaded.stored | {"data": loaded.stored["data"] | data})


def test_all_folders_beside_the_sweep_s_are_trained_on(tmp_path: Path) -> None:
    plan = planned(in_folders(tmp_path), 1)
    assert list(plan.folds) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(plan.rows) == 60
    assert plan.test is None
    assert plan.data.keys() == {
        f"split_{s}/fold_{f}/{part}"
        for s in (0, 1)
        for f in (0, 1)
        for part in ("train", "validation")
    }
    assert {one["rows"] for one in plan.data.values()} == {30}
    assert plan.data["split_0/fold_0/train"] != plan.data["split_1/fold_0/train"]


def test_test_rows_must_not_stand_in_the_sweep_s_own_fold_either(tmp_path: Path) -> None:
    loaded = in_folders(tmp_path)
    lost = molecules()[:2]
    for part in (tmp_path / "split_1").rglob("*.csv"):
        lines = part.read_text().splitlines(keepends=True)
        part.write_text("".join(x for x in lines if x.split(",")[0] not in lost))
    test = str(write_table(tmp_path / "test.csv", lost))
    with pytest.raises(DataError, match="2 training rows have a molecule"):
        planned(in_folders_with(loaded, test_file=test), 1, splits=(1,))


def test_a_missing_folder_is_named_unless_others_are_chosen(tmp_path: Path) -> None:
    loaded = in_folders(tmp_path)
    (tmp_path / "split_1" / "fold_1").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="there is no split 1 fold 1, which others.*--splits"):
        planned(loaded, 1)
    assert list(planned(loaded, 1, splits=(0,)).folds) == [(0, 0), (0, 1)]


def test_a_fold_whose_target_is_constant_is_named(tmp_path: Path) -> None:
    loaded = in_folders(tmp_path)
    constant = tmp_path / "split_1" / "fold_0" / "train.csv"
    lines = [line.rsplit(",", 1)[0] + ",0.5" for line in constant.read_text().splitlines()[1:]]
    constant.write_text("smiles,size,polar\n" + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match="split 1 fold 0: .*'polar' is constant in the training"):
        planned(loaded, 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    loaded = in_folders(tmp_path)
    (tmp_path / "split_0" / "fold_1" / "validation.csv").unlink()
    with pytest.raises(DataError, match=r"fold_1: holds no validation\.csv"):
        planned(loaded, 1)
