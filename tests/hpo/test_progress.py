"""The display of a running sweep, driven by events."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from chemprop_hpo.hpo.events import (
    EpochEnded,
    Observer,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.progress import LiveDisplay, SweepState, duration, picture
from chemprop_hpo.hpo.sparkline import sparkline

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def started(**changes: object) -> SweepStarted:
    values: dict[str, object] = {
        "study": "esol",
        "storage": "sqlite:///studies.db",
        "metric": "val_loss",
        "mode": "min",
        "num_samples": 10,
        "max_epochs": 50,
        "concurrency": 2,
        "resumed": False,
        "counts": {},
    }
    return SweepStarted(**{**values, **changes})  # type: ignore[arg-type]  # names as in the event


def epoch(number: int, at: int, value: float) -> EpochEnded:
    return EpochEnded(number, at, value, value, at, {}, 1.0)


def ended(number: int, state: str, value: float | None, epochs: int, why: str) -> TrialEnded:
    return TrialEnded(number, state, value, epochs, epochs, why)


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


def running_state(trials: int = 3, clock: Clock | None = None) -> SweepState:
    clock = clock or Clock()
    state = SweepState(started(), clock)
    for number in range(trials):
        state.trial_started(TrialStarted(number, {}, "mixture_of_experts", number))
    for at in range(1, 21):
        clock.now += 1
        for number in range(trials):
            state.epoch_ended(epoch(number, at, 1 / at))
    return state


def drawn(state: SweepState, width: int, height: int = 30, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    screen = Console(file=stream, width=width, height=height, markup=False, highlight=False)
    screen.print(picture(state, screen))
    stream.seek(0)
    return stream.read().splitlines()


class TestPicture:
    def test_it_shows_counts_best_pace_curves_and_time_left(self) -> None:
        state = running_state()
        state.trial_ended(ended(0, "COMPLETE", 0.25, 20, "max_t"))
        text = "\n".join(drawn(state, 100))
        assert "1 of 10 trials done, 1 complete, 2 running" in text
        assert "best val_loss 0.25 (trial 0, mixture of experts, epoch 20)" in text
        assert "3 epochs/s, about 2 min left" in text
        assert "20/50" in text
        assert "█▄▃▂▂▂▂▂▁" in text

    @pytest.mark.parametrize("width", [40, 60, 80, 120])
    def test_no_line_is_wider_than_the_terminal_or_broken(self, width: int) -> None:
        lines = drawn(running_state(), width)
        assert max(cell_len(line) for line in lines) <= width
        assert len(lines) == 8

    def test_curves_survive_on_sixty_columns(self) -> None:
        assert any("20/50" in line and "█▄▃▂" in line for line in drawn(running_state(), 60))

    def test_more_trials_than_lines_are_counted(self) -> None:
        lines = drawn(running_state(trials=40), 80, height=20)
        assert lines[-1] == "and 28 more"
        assert len(lines) <= 20

    def test_an_encoding_without_blocks_gets_plain_characters(self) -> None:
        text = "\n".join(drawn(running_state(), 80, encoding="ascii"))
        assert text.isascii()
        assert "@=" in text


class TestState:
    def test_best_follows_the_direction(self) -> None:
        lower, higher = SweepState(started(), Clock()), SweepState(started(mode="max"), Clock())
        for state in (lower, higher):
            for number, value in enumerate([0.5, 0.3, 0.7]):
                state.trial_ended(ended(number, "COMPLETE", value, 50, "max_t"))
        assert (lower.best, higher.best) == (0.3, 0.7)

    def test_a_stopped_trial_is_never_the_best(self) -> None:
        state = SweepState(started(best=0.5), Clock())
        assert not state.trial_ended(ended(1, "PRUNED", 0.1, 10, "asha"))
        assert state.best == 0.5

    def test_an_interrupted_trial_uses_no_budget(self) -> None:
        state = SweepState(started(), Clock())
        state.trial_ended(ended(0, "FAIL", None, 3, "interrupted"))
        state.trial_ended(ended(1, "FAIL", None, 3, "nan"))
        assert state.used == 1

    def test_a_chain_of_continuations_counts_once(self) -> None:
        state = SweepState(started(counts={"COMPLETE": 2, "FAIL": 1}), Clock())
        state.trial_started(TrialStarted(3, {}, "branched", 0, continues=2))
        state.trial_ended(ended(3, "COMPLETE", 0.4, 50, "max_t"))
        assert state.used == 3

    def test_time_left_is_an_upper_bound_until_a_trial_has_ended(self) -> None:
        clock = Clock()
        state = SweepState(started(num_samples=3), clock)
        assert state.time_left() == "time left not known yet"
        state.trial_started(TrialStarted(0, {}, "branched", 0))
        for at in range(1, 11):
            clock.now += 1
            state.epoch_ended(epoch(0, at, 1.0))
        # One epoch a second: 40 of this trial and 2 x 50 to come.
        assert state.time_left() == "at most about 3 min left"
        state.trial_ended(ended(0, "PRUNED", 1.0, 10, "asha"))
        assert state.time_left() == "less than a minute left"

    def test_pace_forgets_what_is_long_past(self) -> None:
        clock = Clock()
        state = running_state(trials=1, clock=clock)
        assert state.epochs_per_s() == pytest.approx(1.0)
        clock.now += 1000
        assert state.epochs_per_s() is None


class TestLiveDisplay:
    def play(self, display: LiveDisplay, clock: Clock) -> None:
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

    def test_it_is_an_observer(self) -> None:
        watcher: Observer = LiveDisplay(console())
        assert watcher is not None

    def test_a_pipe_gets_a_line_a_trial_and_one_each_half_minute(self) -> None:
        clock, pipe = Clock(), console(terminal=False)
        self.play(LiveDisplay(pipe, clock=clock), clock)
        lines = shown(pipe).splitlines()
        assert lines == [
            "study esol begins in sqlite:///studies.db: 10 trials of at most 50 epochs, "
            "2 at a time",
            "0 of 10 trials done, 1 running; no complete trial yet (val_loss, min); "
            "1 epochs/s, at most about 8 min left",
            "trial 0 complete (early_stopping) after 40 epochs: val_loss 0.025, the best so far",
            "trial 1 failed (error) after 0 epochs: ValueError: bad",
        ]
        assert "\x1b" not in shown(pipe)

    def test_a_terminal_gets_the_cursor_back_at_the_end(self) -> None:
        clock, screen = Clock(), console()
        self.play(LiveDisplay(screen, clock=clock), clock)
        text = shown(screen)
        assert HIDE_CURSOR in text
        assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
        assert "trial 0 complete" in text
        assert "ValueError: bad" in text

    def test_the_terminal_is_restored_when_the_sweep_breaks(self) -> None:
        screen, before = console(), (sys.stdout, sys.stderr)
        display = LiveDisplay(screen, clock=Clock())
        with pytest.raises(RuntimeError, match="the sweep broke"), display:  # noqa: PT012
            display.sweep_started(started())
            raise RuntimeError("the sweep broke")
        text = shown(screen)
        assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
        assert (sys.stdout, sys.stderr) == before

    def test_quiet_shows_nothing(self) -> None:
        clock, screen = Clock(), console()
        self.play(LiveDisplay(screen, quiet=True, clock=clock), clock)
        assert shown(screen) == ""

    def test_a_terminal_that_breaks_does_not_reach_the_sweep(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging.getLogger("chemprop_hpo"), "propagate", True)
        clock, screen = Clock(), console()
        display = LiveDisplay(screen, clock=clock)
        display.sweep_started(started())

        def broken(text: str) -> int:
            raise OSError("the terminal is gone")

        screen.file.write = broken  # type: ignore[method-assign]  # a terminal that went away
        clock.now += 1
        display.tick()
        assert display.broken
        self.play(display, clock)
        assert "the sweep goes on" in caplog.text

    def test_events_in_a_wrong_order_do_no_harm(self) -> None:
        display = LiveDisplay(console(), clock=Clock())
        display.tick()
        display.epoch_ended(epoch(7, 1, 0.5))
        display.trial_ended(ended(7, "COMPLETE", 0.5, 1, "max_t"))
        display.sweep_started(started())
        display.trial_ended(ended(9, "COMPLETE", float("nan"), 1, "max_t"))
        display.sweep_ended(SweepEnded("failed", {}, None, None))
        assert not display.broken


class TestSparkline:
    def test_lowest_and_highest_take_the_ends_of_the_scale(self) -> None:
        assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"

    def test_many_values_are_averaged_into_the_width(self) -> None:
        assert sparkline(range(800), 8) == "▁▂▃▄▅▆▇█"

    def test_infinite_and_missing_values_are_left_out(self) -> None:
        assert sparkline([float("nan"), 1.0, float("inf"), 2.0], 8) == "▁█"

    def test_nothing_and_a_constant_can_be_drawn(self) -> None:
        assert sparkline([], 8) == ""
        assert sparkline([3.0, 3.0], 8) == "▁▁"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (61, "2 min"),
        (3599, "1 h 0 min"),
        (5000, "1 h 24 min"),
        (300_000, "3 days"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
