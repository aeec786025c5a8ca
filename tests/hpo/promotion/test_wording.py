"""Numbers beside their bounds: short, and different where they differ."""

from __future__ import annotations

import pytest

from chemprop_hpo.hpo.promotion.wording import apart, apart_percent


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (0.671, 0.674, ("0.671", "0.674")),
        (0.6711, 0.6712, ("0.6711", "0.6712")),
        (0.67, 0.67, ("0.67", "0.67")),
        (0.1 + 0.2, 0.3, ("0.3", "0.3")),
        (0.25000001, 0.25, ("0.25000001", "0.25")),
        (999.9996, 12345.0, ("1000", "12345")),
        (-0.0, 1e-9, ("-0", "1e-09")),
        (2.5e7, 3.0, ("2.5e+07", "3")),
    ],
)
def test_numbers_have_the_digits_that_tell_them_apart(
    first: float, second: float, shown: tuple[str, str]
) -> None:
    assert apart(first, second) == shown


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (0.004, 0.01, ("0.4 %", "1 %")),
        (0.0099, 0.01, ("0.99 %", "1 %")),
        (0.009999, 0.01, ("0.9999 %", "1 %")),
        (0.01, 0.01, ("1 %", "1 %")),
        (1.5, 0.05, ("150 %", "5 %")),
        (999.96, 0.05, ("99996 %", "5 %")),
        (0.0, 0.01, ("0 %", "1 %")),
        (float("inf"), 0.05, ("inf %", "5 %")),
    ],
)
def test_shares_are_written_in_percent(first: float, second: float, shown: tuple[str, str]) -> None:
    assert apart_percent(first, second) == shown
