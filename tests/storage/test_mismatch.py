from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chemprop_hpo.storage.mismatch import differences
from chemprop_hpo.storage.records import StudyRecord

RECORD = StudyRecord(
    config={
        "seed": 0,
        "task": "regression",
        "data": {"target_cols": ["logS"], "file": "esol.csv"},
        "split": {"method": "random", "seed": None},
        "optimization": {"criterion": "MSE", "batch_size": 64},
    },
    metric="val_loss",
    mode="min",
    space={
        "depth": {"type": "randint", "low": 2, "high": 6},
        "criterion": {"type": "choice", "choices": ["MSE", "MAE"], "condition": None},
        "batch_norm": {"type": "fixed", "value": True},
    },
    space_hash="abc",
    data={"data/esol.csv": {"sha256": "a" * 64, "rows": 1128}},
    seed=0,
    folder="studies/esol",
)


def with_config(**sections: Any) -> StudyRecord:
    return replace(RECORD, config={**RECORD.config, **sections})


def with_space(**parameters: Any) -> StudyRecord:
    return replace(RECORD, space={**RECORD.space, **parameters})


def test_a_record_goes_on_with_itself() -> None:
    assert differences(RECORD, RECORD) == []


@pytest.mark.parametrize(
    "new",
    [
        replace(RECORD, data={"elsewhere/esol.csv": RECORD.data["data/esol.csv"]}),
        replace(RECORD, git_commit="new", versions={"torch": "3"}, folder="other"),
        with_config(optimization={"criterion": "MSE", "batch_size": 32}, num_samples=99),
        with_config(data={"target_cols": ("logS",), "file": "moved/esol.csv"}),
        with_config(split={"method": "random", "seed": 0}),
        with_space(depth={"type": "randint", "low": 1, "high": 9}),
        with_space(dropout={"type": "uniform", "low": 0, "high": 1}),
        with_space(criterion={"type": "choice", "choices": ["MSE", "MAE"], "condition": "x"}),
        replace(RECORD, space={}),
    ],
)
def test_what_may_change(new: StudyRecord) -> None:
    assert differences(RECORD, new) == []


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (
            with_config(data={"target_cols": ["logP"]}),
            'data.target_cols: ["logS"] in the study, ["logP"] now',
        ),
        (
            with_config(optimization={"criterion": "MAE"}),
            "optimization.criterion: MSE in the study, MAE now",
        ),
        (with_config(task="classification"), "task: regression in the study, classification now"),
        (with_config(seed=1), "split.seed: 0 in the study, 1 now"),
        (
            with_config(split={"method": "scaffold", "seed": 0}),
            'split: {"method": "random"} in the study, {"method": "scaffold"} now',
        ),
        (
            replace(RECORD, data={}),
            "data esol.csv: 1128 rows, sha256 aaaaaaaaaaaa in the study, absent now",
        ),
        (
            with_space(criterion={"type": "choice", "choices": ["MAE", "MSE"]}),
            'search_space.criterion: ["MSE", "MAE"] in the study, ["MAE", "MSE"] now; '
            "a study cannot change choices: its trials know theirs by their places",
        ),
        (
            with_space(batch_norm={"type": "fixed", "value": False}),
            "search_space.batch_norm: true in the study, false now; "
            "a study cannot change a fixed value: its trials were made with it",
        ),
    ],
)
def test_what_may_not_change_is_shown(new: StudyRecord, line: str) -> None:
    assert differences(RECORD, new) == [line]


def test_changed_data_are_no_difference_where_they_are_accepted() -> None:
    other_data = replace(RECORD, data={"esol.csv": {"sha256": "b" * 64, "rows": 9}})
    assert differences(RECORD, other_data)
    assert differences(RECORD, other_data, accept_changed_data=True) == []
    other_metric = replace(other_data, metric="val_r2")
    assert len(differences(RECORD, other_metric, accept_changed_data=True)) == 1


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    fold = {"a/train.csv": {"sha256": "1", "rows": 1}, "b/train.csv": {"sha256": "2", "rows": 2}}
    swapped = {"a/train.csv": fold["b/train.csv"], "b/train.csv": fold["a/train.csv"]}
    lines = differences(replace(RECORD, data=fold), replace(RECORD, data=swapped))
    assert [line.split(":")[0] for line in lines] == ["data a/train.csv", "data b/train.csv"]


def test_every_difference_is_told_at_once() -> None:
    new = replace(with_config(seed=3), metric="val_r2", mode="max")
    assert [line.split(":")[0] for line in differences(RECORD, new)] == [
        "metric",
        "mode",
        "split.seed",
    ]


def cut(versions: dict[str, str], **parts: str) -> StudyRecord:
    file = {"sha256": "a" * 64, "rows": 1128, "parts": parts}
    return replace(RECORD, data={"file": file}, versions=versions)


OLD = cut({"rdkit": "2025.9", "scikit-learn": "1.7"}, train="a", validation="b", test="c")
NEW = cut({"rdkit": "2026.3", "scikit-learn": "1.7"}, train="a2", validation="b", test="c2")


def test_a_file_that_is_cut_into_other_parts_is_told_with_the_versions_that_cut_it() -> None:
    (line,) = differences(OLD, NEW)
    assert line.startswith(
        "data file: its test and train rows are others here than in the study "
        "(RDKit 2025.9, scikit-learn 1.7 there, RDKit 2026.3, scikit-learn 1.7 here); "
    )
    assert differences(OLD, NEW, accept_changed_data=True) == []


def test_other_versions_that_cut_alike_are_no_difference() -> None:
    assert differences(OLD, replace(OLD, versions=NEW.versions)) == []
    assert differences(cut(OLD.versions), NEW) == []  # the study of an earlier version


def test_of_a_split_that_was_changed_only_that_is_told() -> None:
    (line,) = differences(OLD, replace(NEW, config=with_config(seed=3).config))
    assert line.startswith("split.seed")
