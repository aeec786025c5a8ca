from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chemprop_hpo.hpo.commands.member_lines import ensemble_lines, member_lines
from chemprop_hpo.storage.ensembles import EnsembleRecord
from chemprop_hpo.storage.members import MemberKey, MemberRecord


def member(fold: int, state: str, **changes: Any) -> MemberRecord:
    fields: dict[str, Any] = {
        "id": fold,
        "key": MemberKey(7, 0, fold, "0" * 64),
        "seed": 1,
        "folder": f"members/trial_00007/split_0_fold_{fold}",
        "state": state,
        "driver_id": None,
        "epoch": 0,
        "max_epochs": 40,
        "best_epoch": None,
        "value": None,
        "curve": (),
        "metrics": {},
        "stop_reason": None,
        "error": None,
        "retries": 0,
        "started": None,
        "ended": None,
    }
    return MemberRecord(**fields | changes)


def test_a_study_without_members_says_nothing_of_them() -> None:
    assert list(member_lines([])) == []


def test_all_are_counted_and_those_that_run_or_failed_have_a_line() -> None:
    lines = member_lines(
        [
            member(0, "complete"),
            member(1, "running", epoch=12, value=0.51234),
            member(2, "failed", stop_reason="oom", error="out of memory"),
            member(3, "failed", stop_reason="nan"),
            member(4, "waiting"),
        ]
    )
    assert list(lines) == [
        "5 models for ensembles: 1 complete, 1 running, 1 waiting, 2 failed",
        "trial 7 split 0 fold 1: epoch 12 of 40, best 0.5123",
        "trial 7 split 0 fold 2: out of memory",
        "trial 7 split 0 fold 3: nan",
    ]


def test_each_folder_is_named_once_with_what_was_written_there_last() -> None:
    made = [
        EnsembleRecord(i, datetime.fromtimestamp(moment, UTC), folder, {"trials": trials})
        for i, moment, folder, trials in (
            (1, 100, "/a", {"1": 3}),
            (2, 200, "/b", {"1": 3, "2": 8}),
            (3, 280, "/a", {"1": 5}),
        )
    ]
    assert list(ensemble_lines(made, now=300)) == [
        "/a: trials 5; made 20 s ago",
        "/b: trials 3, 8; made 2 min ago",
    ]
