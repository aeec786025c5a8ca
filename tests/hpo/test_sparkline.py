from __future__ import annotations

from chemprop_hpo.hpo.sparkline import sparkline


def test_lowest_and_highest_take_the_ends_of_the_scale() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"


def test_many_values_are_averaged_into_the_width() -> None:
    assert sparkline(range(800), 8) == "▁▂▃▄▅▆▇█"


def test_infinite_and_missing_values_are_left_out() -> None:
    assert sparkline([float("nan"), 1.0, float("inf"), 2.0], 8) == "▁█"


def test_nothing_and_a_constant_can_be_drawn() -> None:
    assert sparkline([], 8) == ""
    assert sparkline([3.0, 3.0], 8) == "▁▁"
