"""Ensembles that stand in a folder give way only where nothing of them is lost unasked."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.ensembles.results.replacement import check_replacement
from chemprop_hpo.storage.member_records import MemberKey
from tests.hpo.ensembles.results.test_output import predictor

Places = Sequence[tuple[int, int, int]]


def places(
    trials: Sequence[int], folds: Sequence[int] = (0, 1), splits: Sequence[int] = (0,)
) -> Places:
    return list(product(trials, splits, folds))


def keys(members: Places) -> list[MemberKey]:
    return [MemberKey(*place, "cut") for place in members]


def stored(folder: Path, members: Places) -> Path:
    """Write a manifest for each trial as its rank, and one of all together."""
    trials = list(dict.fromkeys(trial for trial, _, _ in members))
    of_rank = {
        f"rank_{rank}": [place for place in members if place[0] == trial]
        for rank, trial in enumerate(trials, start=1)
    }
    for name, own in {**of_rank, "combined": members}.items():
        path = predictor(folder / name) / "manifest.json"
        manifest = json.loads(path.read_text())
        (pattern,) = manifest["members"]
        manifest["members"] = [
            pattern
            | {"trial": trial, "split": split, "fold": fold, "rank": trials.index(trial) + 1}
            | {"file": f"models/{trial}_{split}_{fold}.pt", "weights": [1 / len(own)]}
            for trial, split, fold in own
        ]
        path.write_text(json.dumps(manifest))
    return folder


THREE = places([4, 1, 7])


@pytest.mark.parametrize(
    "asked",
    [THREE, places([1, 4, 7]), places([4, 1, 7, 2]), places([4, 1, 7], (0, 1, 2))],
    ids=["the same", "in another order", "one more trial", "one more fold"],
)
def test_what_is_asked_for_again_gives_way(
    tmp_path: Path, asked: Places, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        check_replacement(stored(tmp_path, THREE), keys(asked), force=False)
    assert caplog.messages == []


def test_a_fold_that_was_missing_may_come(tmp_path: Path) -> None:
    there = [place for place in THREE if place != (7, 0, 1)]
    check_replacement(stored(tmp_path, there), keys(THREE), force=False)


def test_an_empty_folder_and_none_hold_nothing(tmp_path: Path) -> None:
    check_replacement(tmp_path, keys(THREE), force=False)
    check_replacement(tmp_path / "new", keys(THREE), force=False)


@pytest.mark.parametrize(
    ("asked", "held", "now"),
    [
        (
            places([4], [0]),
            "the top 3 (trials 4, 1, 7; folds 0, 1)",
            "the top 1 (trial 4; fold 0)",
        ),
        (
            places([9, 4, 1]),
            "the top 3 (trials 4, 1, 7; folds 0, 1)",
            "the top 3 (trials 9, 4, 1; folds 0, 1)",
        ),
        (
            places([4, 1, 7], (0, 2)),
            "the top 3 (trials 4, 1, 7; folds 0, 1)",
            "the top 3 (trials 4, 1, 7; folds 0, 2)",
        ),
        (
            places([4, 1, 7], splits=(1, 2)),
            "the top 3 (trials 4, 1, 7; split 0; folds 0, 1)",
            "the top 3 (trials 4, 1, 7; splits 1, 2; folds 0, 1)",
        ),
    ],
    ids=["fewer", "another trial", "another fold", "other splits"],
)
def test_others_give_way_by_force_only(
    tmp_path: Path, asked: Places, held: str, now: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = stored(tmp_path, THREE)
    with pytest.raises(UsageError) as caught:
        check_replacement(folder, keys(asked), force=False)
    assert str(caught.value) == (
        f"{folder}: holds {held}, and now {now} is asked for; add --force to replace it, or name "
        "another folder with -o"
    )
    with caplog.at_level(logging.INFO):
        check_replacement(folder, keys(asked), force=True)
    assert caplog.messages == [f"{folder}: held {held}, which is replaced by {now}"]
