"""The display of an ensemble's members, driven by events."""

from __future__ import annotations

import io

from rich.console import Console

from chemprop_hpo.hpo.ensembles.members.events import (
    MemberEnded,
    MemberEpoch,
    MemberObserver,
    MembersEnded,
    MembersStarted,
    MemberStarted,
    Tally,
)
from chemprop_hpo.hpo.progress.members import MemberDisplay
from tests.hpo.progress.scenes import Clock

SHOW_CURSOR = "\x1b[?25h"
TOTAL = 6


def console(height: int = 30, *, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=100,
        height=height,
        _environ={"TERM": "xterm"},
    )


def shown(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def tally(complete: int = 0, failed: int = 0) -> Tally:
    return Tally(complete, failed, TOTAL)


def started(**changes: int) -> MembersStarted:
    return MembersStarted("esol", "val_loss", "min", 50, 2, tally(**changes))


def begun(trial: int, fold: int, epoch: int = 0) -> MemberStarted:
    return MemberStarted(trial, 0, fold, 7, epoch, 50, tally())


def epoch(trial: int, fold: int, at: int) -> MemberEpoch:
    return MemberEpoch(trial, 0, fold, at, 50, 2 / at, 1 / at, at, 1.0, tally())


def ended(
    trial: int,
    fold: int,
    state: str,
    why: str,
    *,
    value: float | None = None,
    error: str | None = None,
    **counted: int,
) -> MemberEnded:
    best = None if value is None else 30
    return MemberEnded(trial, 0, fold, state, value, best, 40, why, error, tally(**counted))


def test_it_is_an_observer() -> None:
    watcher: MemberObserver = MemberDisplay(console())
    assert watcher is not None


def test_a_pipe_gets_a_line_a_member_and_one_each_half_minute() -> None:
    clock, pipe = Clock(), console(terminal=False)
    display = MemberDisplay(pipe, clock=clock)
    display.members_started(started())
    display.member_started(begun(3, 0))
    display.member_started(begun(3, 1, epoch=12))
    for at in range(1, 41):
        clock.now += 1
        display.member_epoch(epoch(3, 0, at))
        display.tick()
    display.member_ended(ended(3, 0, "complete", "max_t", value=0.0251234, complete=1))
    error = "Traceback (most recent call last)\nValueError: bad"
    display.member_ended(ended(3, 1, "failed", "error", error=error, complete=1, failed=1))
    clock.now += 40
    display.tick()
    display.members_ended(MembersEnded("finished", tally(complete=1, failed=1)))
    assert shown(pipe).splitlines() == [
        "training 6 models of at most 50 epochs, 2 at a time",
        "trial 3 split 0 fold 1 goes on after epoch 12",
        "0 of 6 models done, 2 in training; time left not known yet",
        "1/6 trial 3 split 0 fold 0 complete (max_t) after 40 epochs: val_loss 0.02512 at epoch 30",
        "2/6 trial 3 split 0 fold 1 failed (error) after 40 epochs: ValueError: bad",
        "2 of 6 models done, 1 failed, 0 in training; about 6 min left",
    ]


def test_what_is_there_already_is_said_and_does_not_count_as_pace() -> None:
    clock, pipe = Clock(), console(terminal=False)
    display = MemberDisplay(pipe, clock=clock)
    display.members_started(started(complete=4))
    clock.now += 31
    display.tick()
    assert shown(pipe).splitlines() == [
        "training 6 models of at most 50 epochs, 2 at a time, 4 of them already there",
        "4 of 6 models done, 0 in training; time left not known yet",
    ]


def test_members_of_other_drivers_are_told_as_such() -> None:
    pipe = console(terminal=False)
    display = MemberDisplay(pipe, clock=Clock())
    display.members_started(started())
    display.member_ended(ended(1, 0, "running", "taken"))
    assert shown(pipe).splitlines()[-1] == "0/6 trial 1 split 0 fold 0 is trained by another driver"


def test_an_interrupted_member_says_that_it_waits() -> None:
    pipe = console(terminal=False)
    display = MemberDisplay(pipe, clock=Clock())
    display.members_started(started())
    display.member_ended(ended(1, 0, "waiting", "interrupted"))
    assert "trial 1 split 0 fold 0 waiting (interrupted) after 40 epochs" in shown(pipe)


def test_a_terminal_shows_each_running_member_with_its_curve() -> None:
    clock, where = Clock(), console()
    with MemberDisplay(where, clock=clock) as display:
        display.members_started(started())
        display.member_started(begun(3, 0))
        display.member_started(begun(12, 1))
        for at in range(1, 21):
            display.member_epoch(epoch(12, 1, at))
        clock.now += 1
        display.tick()
        text = shown(where)
        assert "0 of 6 models done, 2 in training" in text
        assert "val_loss" in text
        lines = [line.split() for line in text.splitlines()]
        assert any(line[:4] == ["3", "0", "0", "0/50"] for line in lines)
        (row,) = [line for line in lines if line[:4] == ["12", "0", "1", "20/50"]]
        assert row[4] == "0.05"
        assert row[5].startswith("█")
    assert shown(where).rindex(SHOW_CURSOR) > 0


def test_members_that_do_not_fit_onto_the_terminal_are_counted() -> None:
    clock, where = Clock(), console(height=9)
    with MemberDisplay(where, clock=clock) as display:
        display.members_started(started())
        for trial in range(5):
            display.member_started(begun(trial, 0))
        clock.now += 1
        display.tick()
        assert "and 2 more" in shown(where)


def test_a_member_that_ended_is_shown_no_more() -> None:
    clock, where = Clock(), console()
    with MemberDisplay(where, clock=clock) as display:
        display.members_started(started())
        display.member_started(begun(3, 0))
        display.member_ended(ended(3, 0, "complete", "max_t", value=0.5, complete=1))
        clock.now += 1
        display.tick()
        assert "1 of 6 models done, 0 in training" in shown(where)


def test_events_in_a_wrong_order_do_no_harm() -> None:
    display = MemberDisplay(console(), clock=Clock())
    display.tick()
    display.member_epoch(epoch(1, 0, 1))
    display.member_ended(ended(2, 0, "complete", "max_t", value=float("nan"), complete=1))
    display.members_ended(MembersEnded("failed", tally()))
    display.members_started(started())
    display.members_ended(MembersEnded("finished", tally()))
    assert not display.broken


def test_quiet_shows_nothing() -> None:
    clock, where = Clock(), console()
    display = MemberDisplay(where, quiet=True, clock=clock)
    display.members_started(started())
    display.member_started(begun(1, 0, epoch=3))
    clock.now += 100
    display.tick()
    assert shown(where) == ""
