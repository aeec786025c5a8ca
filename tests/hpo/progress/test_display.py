"""The display, driven by events."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from chemprop_hpo.hpo.events import (
    Observer,
    SweepEnded,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.progress.display import LiveDisplay
from tests.hpo.progress.scenes import Clock, ended, epoch, started

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def console(width: int = 100, height: int = 30, *, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        height=height,
        markup=False,
        highlight=False,
        _environ={"TERM": "xterm"},
    )


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def play(display: LiveDisplay, clock: Clock) -> None:
    display.sweep_started(started())
    display.trial_started(TrialStarted(0, {}, "branched", 0))
    for at in range(1, 41):
        clock.now += 1
        display.epoch_ended(epoch(0, at, 1 / at))
        display.tick()
    display.trial_ended(ended(0, "COMPLETE", 0.025, 40, "early_stopping"))
    display.trial_started(TrialStarted(1, {}, "branched", 0))
    failed = TrialEnded(1, "FAIL", None, None, 0, "error", error="Traceback\nValueError: bad")
    display.trial_ended(failed)
    display.sweep_ended(SweepEnded("finished", {}, 0, 0.025))


def test_it_is_an_observer() -> None:
    watcher: Observer = LiveDisplay(console())
    assert watcher is not None


def test_a_pipe_gets_a_line_a_trial_and_one_each_half_minute() -> None:
    clock, pipe = Clock(), console(terminal=False)
    play(LiveDisplay(pipe, clock=clock), clock)
    lines = shown(pipe).splitlines()
    assert lines == [
        "study esol begins in sqlite:///studies.db: 10 trials of at most 50 epochs, 2 at a time",
        "0 of 10 trials done, 1 running; no complete trial yet (val_loss, min); "
        "1 epochs/s, at most about 8 min left",
        "trial 0 complete (early_stopping) after 40 epochs: val_loss 0.025, the best so far",
        "trial 1 failed (error) after 0 epochs: ValueError: bad",
    ]
    assert "\x1b" not in shown(pipe)


def test_a_terminal_gets_the_cursor_back_at_the_end() -> None:
    clock, screen = Clock(), console()
    play(LiveDisplay(screen, clock=clock), clock)
    text = shown(screen)
    assert HIDE_CURSOR in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert "trial 0 complete" in text
    assert "ValueError: bad" in text


def test_the_terminal_is_restored_when_the_sweep_breaks() -> None:
    screen, before = console(), (sys.stdout, sys.stderr)
    display = LiveDisplay(screen, clock=Clock())
    with pytest.raises(RuntimeError, match="the sweep broke"), display:  # noqa: PT012
        display.sweep_started(started())
        raise RuntimeError("the sweep broke")
    text = shown(screen)
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert (sys.stdout, sys.stderr) == before


def test_quiet_shows_nothing() -> None:
    clock, screen = Clock(), console()
    play(LiveDisplay(screen, quiet=True, clock=clock), clock)
    assert shown(screen) == ""


def test_a_terminal_that_breaks_does_not_reach_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    clock, screen = Clock(), console()
    display = LiveDisplay(screen, clock=clock)
    display.sweep_started(started())

    def broken(text: str) -> int:
        raise OSError("the terminal is gone")

    screen.file.write = broken  # type: ignore[method-assign]  # a terminal that went away
    clock.now += 1
    display.tick()
    assert display.broken
    play(display, clock)
    assert "the work goes on" in caplog.text


def test_events_in_a_wrong_order_do_no_harm() -> None:
    display = LiveDisplay(console(), clock=Clock())
    display.tick()
    display.epoch_ended(epoch(7, 1, 0.5))
    display.trial_ended(ended(7, "COMPLETE", 0.5, 1, "max_t"))
    display.sweep_started(started())
    display.trial_ended(ended(9, "COMPLETE", float("nan"), 1, "max_t"))
    display.sweep_ended(SweepEnded("failed", {}, None, None))
    assert not display.broken


def test_a_study_that_goes_on_counts_its_chains_once() -> None:
    pipe = console(terminal=False)
    counts = {"COMPLETE": 2, "FAIL": 3, "WAITING": 1}
    LiveDisplay(pipe, clock=Clock()).sweep_started(
        started(resumed=True, counts=counts, continued=2)
    )
    assert "study esol goes on in" in shown(pipe)
    assert "3 trials already there" in shown(pipe)


def test_a_trial_that_will_be_continued_has_not_failed() -> None:
    pipe = console(terminal=False)
    display = LiveDisplay(pipe, clock=Clock())
    display.sweep_started(started())
    display.trial_ended(ended(0, "FAIL", None, 12, "interrupted"))
    assert "trial 0 stopped (interrupted) after 12 epochs" in shown(pipe)
