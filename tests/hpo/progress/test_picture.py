"""The drawing of a sweep."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from chemprop_hpo.hpo.progress.picture import picture
from chemprop_hpo.hpo.progress.state import SweepState
from tests.hpo.progress.scenes import ended, running_state


def drawn(state: SweepState, width: int, height: int = 30, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    screen = Console(file=stream, width=width, height=height, markup=False, highlight=False)
    screen.print(picture(state, screen))
    stream.seek(0)
    return stream.read().splitlines()


def test_it_shows_counts_best_pace_curves_and_time_left() -> None:
    state = running_state()
    state.trial_ended(ended(0, "COMPLETE", 0.25, 20, "max_t"))
    text = "\n".join(drawn(state, 100))
    assert "1 of 10 trials done, 1 complete, 2 running" in text
    assert "best val_loss 0.25 (trial 0, mixture of experts, epoch 20)" in text
    assert "3 epochs/s, about 2 min left" in text
    assert "20/50" in text
    assert "█▄▃▂▂▂▂▂▁" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal_or_broken(width: int) -> None:
    lines = drawn(running_state(), width)
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) == 8


def test_curves_survive_on_sixty_columns() -> None:
    assert any("20/50" in line and "█▄▃▂" in line for line in drawn(running_state(), 60))


def test_more_trials_than_lines_are_counted() -> None:
    lines = drawn(running_state(trials=40), 80, height=20)
    assert lines[-1] == "and 28 more"
    assert len(lines) <= 20


def test_an_encoding_without_blocks_gets_plain_characters() -> None:
    text = "\n".join(drawn(running_state(), 80, encoding="ascii"))
    assert text.isascii()
    assert "@=" in text
