from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chemprop_hpo.storage.changes import accepted_changes
from chemprop_hpo.storage.records import StudyRecord

RECORD = StudyRecord(
    config={
        "seed": 0,
        "num_samples": 12,
        "data": {"file": "esol.csv", "data_dir": None},
        "study": {"storage": "postgresql://me:${oc.env:PGPASSWORD}@host/db", "folder": None},
        "scheduler": {"type": "asha", "max_t": 50},
        "resources": {"cpus_per_trial": 1, "gpus_per_trial": 0.0},
        "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
        "search_space": {"depth": "..."},
        "enqueue": [{"depth": 3}],
    },
    metric="val_loss",
    mode="min",
    space={"depth": {"type": "randint", "low": 2, "high": 6, "condition": None}},
    space_hash="abc",
    data={"file": {"sha256": "a" * 64, "rows": 1128, "path": "/data/esol.csv"}},
    seed=0,
    folder="/mnt/studies/esol",
    git_commit="b31f688",
    versions={"torch": "2.13.0", "optuna": "5.0.0"},
)


def with_config(**sections: Any) -> StudyRecord:
    return replace(RECORD, config={**RECORD.config, **sections})


def test_a_study_that_goes_on_as_it_was_has_no_changes() -> None:
    assert accepted_changes(RECORD, RECORD) == []
    assert accepted_changes(RECORD, replace(RECORD, git_commit="new", space_hash="new")) == []


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (
            with_config(scheduler={"type": "asha", "max_t": 20}),
            "scheduler.max_t: 50 in the study, 20 now",
        ),
        (with_config(num_samples=99), "num_samples: 12 in the study, 99 now"),
        (
            with_config(resources={"cpus_per_trial": 4, "gpus_per_trial": 0.0}),
            "resources.cpus_per_trial: 1 in the study, 4 now",
        ),
        (with_config(enqueue=[]), 'enqueue: [{"depth": 3}] in the study, [] now'),
        (
            replace(RECORD, folder="/elsewhere/esol"),
            "folder: /mnt/studies/esol in the study, /elsewhere/esol now",
        ),
        (
            replace(RECORD, data={"file": {**RECORD.data["file"], "path": "/mnt/esol.csv"}}),
            "data file: /data/esol.csv in the study, /mnt/esol.csv now",
        ),
        (
            replace(RECORD, data={"file": {**RECORD.data["file"], "sha256": "b" * 64, "rows": 9}}),
            "data file: 1128 rows, sha256 aaaaaaaaaaaa in the study, 9 rows, sha256 bbbbbbbbbbbb now",
        ),
        (
            replace(RECORD, space={"depth": {**RECORD.space["depth"], "high": 9}}),
            "search_space.depth.high: 6 in the study, 9 now",
        ),
        (
            replace(RECORD, space={}),
            'search_space.depth: {"type": "randint", "low": 2, "high": 6, "condition": null} '
            "in the study, absent now",
        ),
        (
            replace(RECORD, versions={"torch": "2.14.0", "optuna": "5.0.0"}),
            "versions.torch: 2.13.0 in the study, 2.14.0 now",
        ),
    ],
)
def test_each_change_is_one_line(new: StudyRecord, line: str) -> None:
    assert accepted_changes(RECORD, new) == [line]


def test_data_that_were_moved_are_told_by_the_place_where_they_were_found() -> None:
    moved = with_config(data={"file": "/mnt/esol.csv", "data_dir": None})
    moved = replace(moved, data={"file": {**RECORD.data["file"], "path": "/mnt/esol.csv"}})
    assert accepted_changes(RECORD, moved) == [
        "data file: /data/esol.csv in the study, /mnt/esol.csv now"
    ]


def test_a_record_without_places_tells_what_the_configuration_says() -> None:
    without = replace(RECORD, data={"file": {"sha256": "a" * 64, "rows": 1128}})
    moved = with_config(data={"file": "/mnt/esol.csv", "data_dir": None})
    assert accepted_changes(without, moved) == [
        "data.file: esol.csv in the study, /mnt/esol.csv now"
    ]


@pytest.mark.parametrize(
    "new",
    [
        with_config(study={"storage": "postgresql://me:***@host/db", "folder": "/else"}),
        with_config(early_stopping={"patience": 3}),
        with_config(scheduler={"type": "asha", "max_t": 50.0, "brackets": 1}),
    ],
    ids=["the same database", "a section of another version", "a key of another version"],
)
def test_what_is_no_change(new: StudyRecord) -> None:
    assert accepted_changes(RECORD, new) == []
