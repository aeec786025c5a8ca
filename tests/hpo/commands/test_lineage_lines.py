"""Drivers, orphans and chains, said in lines."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from chemprop_hpo.hpo.commands.lineage_lines import (
    ago,
    chain_lines,
    change_lines,
    driver_lines,
    orphan_lines,
    waiting_lines,
)

NOW = 10_000.0


@dataclass
class Driver:
    """A driver as storage tells it."""

    state: str
    pid: int = 7
    host: str = "lab"
    started_at: float = NOW - 7200
    beat_at: float = NOW - 4
    trials: tuple[int, ...] = ()


@dataclass
class Row:
    """Who goes on with whom."""

    continues: int
    continued_by: int | None
    stop_reason: str = "orphaned"


def trial(number: int, state: str = "RUNNING", last_step: int | None = None, **attrs: Any) -> Any:
    return SimpleNamespace(
        number=number, state=SimpleNamespace(name=state), last_step=last_step, user_attrs=attrs
    )


class TestDrivers:
    def test_those_at_work_come_first_with_beat_and_trials(self) -> None:
        alive = Driver("alive", trials=(3, 8))
        dead = Driver("dead", pid=9, beat_at=NOW - 190, trials=(5,))
        assert driver_lines([dead, alive], NOW) == [
            "process 7 on lab, for 2 h 0 min, last beat 4 s ago, trials 3, 8",
            "process 9 on lab is dead, last beat 4 min ago; it had trial 5",
        ]

    def test_a_long_history_is_a_count(self) -> None:
        past = [Driver("left")] * 40 + [Driver("dead")] * 2
        assert driver_lines(past, NOW) == ["none at work", "before: 40 have left, 2 died"]

    def test_a_study_that_nobody_has_worked_on(self) -> None:
        assert driver_lines([], NOW) == ["none at work"]


class TestTrials:
    def test_an_orphan_says_how_far_it_came(self) -> None:
        assert orphan_lines([trial(7, last_step=12), trial(8)]) == [
            "trial 7 has lost its driver at epoch 12; resume takes it up",
            "trial 8 has lost its driver before its first epoch; resume takes it up",
        ]

    def test_many_orphans_are_counted(self) -> None:
        lines = orphan_lines([trial(number, last_step=1) for number in range(9)])
        assert len(lines) == 6
        assert lines[-1] == "and 4 more; resume takes them up"

    def test_a_waiting_continuation_says_what_it_goes_on_with(self) -> None:
        trials = [
            trial(3, "FAIL", last_step=30),
            trial(4, "WAITING", continues=3),
            trial(5, "WAITING"),
            trial(6, "RUNNING", continues=2),
        ]
        rows = [Row(3, 4, "interrupted")]
        assert waiting_lines(trials, rows) == [
            "trial 4 goes on with trial 3, interrupted at epoch 30"
        ]


class TestChains:
    @pytest.mark.parametrize(
        ("rows", "line"),
        [
            ([Row(3, 9), Row(9, 12)], "3 -> 9 -> 12 (orphaned twice)"),
            ([Row(3, 9, "interrupted")], "3 -> 9 (interrupted)"),
            (
                [Row(1, 2), Row(2, 3, "time_budget"), Row(3, 4), Row(4, 5)],
                "1 -> 2 -> 3 -> 4 -> 5 (orphaned 3 times, time budget)",
            ),
            ([Row(3, 9), Row(9, None)], "3 -> 9 (orphaned)"),
        ],
    )
    def test_a_chain_is_a_line(self, rows: list[Row], line: str) -> None:
        assert chain_lines(rows) == [line]

    def test_the_latest_are_shown(self) -> None:
        lines = chain_lines([Row(number, number + 100) for number in range(20)])
        assert lines[0] == "15 earlier"
        assert lines[-1] == "19 -> 119 (orphaned)"

    def test_one_that_is_only_claimed_is_no_chain_yet(self) -> None:
        assert chain_lines([Row(3, None)]) == []


def test_what_was_changed_is_dated_and_the_last_few_are_shown() -> None:
    changes = [{"at": NOW, "what": [f"change {n}", f"change {n}b"]} for n in range(4)]
    lines = change_lines(changes)
    assert lines[0] == "3 earlier"
    assert lines[-1].endswith(": change 3b")
    assert lines[-1].startswith("1970-01-0")


def test_a_beat_is_told_in_seconds_and_an_evening_in_hours() -> None:
    assert [ago(s) for s in (-1, 4.4, 59, 61, 7200)] == [
        "0 s ago",
        "4 s ago",
        "59 s ago",
        "2 min ago",
        "2 h 0 min ago",
    ]
