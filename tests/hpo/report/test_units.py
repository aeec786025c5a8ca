import math

import pytest

from chemprop_hpo.hpo.report.content import Target
from chemprop_hpo.hpo.report.units import error_unit, measured_in, ticks


def test_axes_are_named_in_original_units_and_errors_in_transformed_ones():
    plain, log, log1 = Target("a", "mg"), Target("a", "µM", "log10"), Target("a", "µM", "log10p1")
    assert [measured_in("Observed", t) for t in (plain, log, log1, Target("a"))] == [
        "Observed (mg)",
        "Observed (µM, log scale)",
        "Observed (µM, log(x + 1) scale)",
        "Observed",
    ]
    assert [error_unit(t).replace("\u00a0", " ") for t in (plain, log, log1, Target("a"))] == [
        "mg",
        "log₁₀ µM",
        "log₁₀(µM + 1)",
        "",
    ]
    assert error_unit(Target("a", "", "log10")) == "log₁₀ value"


def test_ticks_over_decades_are_powers_of_ten():
    assert ticks("log10", -2.1, 3.1) == [
        (-2, "0.01"),
        (-1, "0.1"),
        (0, "1"),
        (1, "10"),
        (2, "100"),
        (3, "1000"),
    ]


def test_ticks_of_values_plus_one_begin_with_zero():
    places, labels = zip(*ticks("log10p1", -0.1, 4.2), strict=True)
    assert labels == ("0", "10", "100", "1000", "10⁴")
    assert places == pytest.approx([math.log10(x + 1) for x in (0, 10, 100, 1000, 1e4)])


@pytest.mark.parametrize("transform", ["log10", "log10p1"])
@pytest.mark.parametrize(
    ("low", "high"), [(1.9, 2.1), (0.5, 1.2), (-0.05, 0.3), (0.0, 9.0), (2.0, 2.001)]
)
def test_there_are_ticks_inside_any_range_and_each_stands_at_its_value(transform, low, high):
    marks = ticks(transform, low, high)
    assert 2 <= len(marks) <= 12
    for place, label in marks:
        assert low <= place <= high
        if not label.replace(".", "").isdecimal():
            continue  # a power, checked above
        value = float(label) + (transform == "log10p1")
        assert place == pytest.approx(math.log10(value), abs=1e-4)
    places = [place for place, _ in marks]
    assert places == sorted(places)
