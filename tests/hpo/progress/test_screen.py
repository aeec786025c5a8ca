"""A place to show progress, on a terminal and where there is none."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.text import Text

from chemprop_hpo.hpo.progress.screen import PLAIN_LINE_S, REFRESH_S, Screen, harmless
from tests.hpo.progress.scenes import Clock

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def console(*, terminal: bool = True, term: str = "xterm") -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=80, height=20, _environ={"TERM": term}
    )


def shown(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


class Counter(Screen):
    """Shows how often it was told."""

    told = 0

    @harmless
    def begin(self) -> None:
        self._open()

    @harmless
    def tell(self, times: int) -> None:
        self.told += times
        self._say(f"told {self.told}")

    @harmless
    def draw(self) -> None:
        if self._is_due():
            self._draw(lambda _: Text(f"drawn {self.told}"))

    @property
    def is_due(self) -> bool:
        return self._is_due()


def test_a_terminal_is_drawn_on_and_given_back() -> None:
    clock, where = Clock(), console()
    with Counter(where, clock=clock) as screen:
        screen.begin()
        assert HIDE_CURSOR in shown(where)
        clock.now += 1
        screen.draw()
        screen.tell(1)
        assert SHOW_CURSOR not in shown(where)
    text = shown(where)
    assert "drawn 0" in text
    assert "told 1" in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)


def test_a_terminal_is_given_back_whatever_happens() -> None:
    where = console()
    with pytest.raises(KeyboardInterrupt), Counter(where, clock=Clock()) as screen:  # noqa: PT012
        screen.begin()
        raise KeyboardInterrupt
    assert shown(where).rindex(SHOW_CURSOR) > shown(where).rindex(HIDE_CURSOR)


@pytest.mark.parametrize("where", [console(terminal=False), console(term="dumb")])
def test_where_nothing_can_be_drawn_lines_are_printed(where: Console) -> None:
    clock = Clock()
    with Counter(where, clock=clock) as screen:
        screen.begin()
        clock.now += 100
        screen.draw()
        screen.tell(2)
    assert shown(where) == "told 2\n"


def test_lines_stand_as_they_are_written() -> None:
    where = console(terminal=False)
    Counter(where, clock=Clock())._say("[bold]C[C@H](N) " + "x" * 100)
    assert shown(where) == "[bold]C[C@H](N) " + "x" * 100 + "\n"


def test_quiet_shows_nothing_on_a_terminal_either() -> None:
    clock, where = Clock(), console()
    with Counter(where, quiet=True, clock=clock) as screen:
        screen.begin()
        screen.tell(1)
        clock.now += 100
        screen.draw()
    assert shown(where) == ""


def test_a_terminal_is_drawn_anew_more_often_than_a_log_gets_a_line() -> None:
    clock = Clock()
    log, terminal = (Counter(console(terminal=t), clock=clock) for t in (False, True))
    log.begin()
    terminal.begin()
    clock.now = REFRESH_S
    assert (log.is_due, terminal.is_due) == (False, True)
    clock.now = PLAIN_LINE_S
    assert (log.is_due, terminal.is_due) == (True, True)
    log.tell(1)
    assert not log.is_due
    terminal.close()


def test_closing_twice_is_harmless() -> None:
    screen = Counter(console(), clock=Clock())
    screen.begin()
    screen.close()
    screen.close()
    assert not screen.broken


def test_a_fault_ends_the_display_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    where, before = console(), (sys.stdout, sys.stderr)
    screen = Counter(where, clock=Clock())
    screen.begin()
    for _ in range(3):
        screen.tell("once")  # type: ignore[arg-type]  # a fault of the display
    assert screen.broken
    assert screen.told == 0
    assert caplog.text.count("no more progress display") == 1
    assert "the work goes on" in caplog.text
    assert shown(where).rindex(SHOW_CURSOR) > shown(where).rindex(HIDE_CURSOR)
    assert (sys.stdout, sys.stderr) == before
