import math

import pytest

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.digits import as_number, as_percent, as_value, with_interval

NAN = math.nan


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.61234, 0.5831, 0.6402), ("0.612", "[0.583, 0.640]")),
        (Interval(12.34, 8.1, 17.2), ("12.3", "[8.1, 17.2]")),
        (Interval(1234.5, 1000.2, 1500.9), ("1234", "[1000, 1501]")),
        (Interval(-0.0001, -0.5, 0.5), ("0.00", "[-0.50, 0.50]")),
        (Interval(0.5, 0.5, 0.5), ("0.500", "")),
        (Interval(0.5, NAN, NAN), ("0.500", "")),
        (Interval(NAN, NAN, NAN), ("–", "")),
        (Interval(3.2e9, 1.1e9, 5.5e9), ("3.20e+09", "[1.10e+09, 5.50e+09]")),
        (Interval(2e-9, 1e-9, 3e-9), ("2.00e-09", "[1.00e-09, 3.00e-09]")),
        (None, ("–", "")),
    ],
)
def test_a_value_has_as_many_digits_as_its_interval_allows(interval, expected):
    assert with_interval(interval) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123456, "0.123"),
        (12.3456, "12.3"),
        (1234.56, "1235"),
        (0.0, "0.00"),
        (-0.05, "-0.0500"),
        (1.5e-7, "1.50e-07"),
        (NAN, "–"),
        (math.inf, "–"),
        (None, "–"),
    ],
)
def test_a_number_alone_has_three_digits(value, expected):
    assert as_number(value) == expected


def test_shares_are_whole_percents():
    assert [as_percent(x) for x in (0.333, 1.0, 0.0, NAN, None)] == [
        "33 %",
        "100 %",
        "0 %",
        "–",
        "–",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.23456789e-4, "0.0001235"),
        (3, "3"),
        (True, "True"),
        ("mean", "mean"),
        (["a", 0.5], "a, 0.5"),
        (None, "–"),
    ],
)
def test_parameters_are_written_as_a_person_would(value, expected):
    assert as_value(value) == expected
