import numpy as np
import pytest

from chemprop_hpo.hpo.evaluation.repeats import drawn_counts, drawn_rows, numbered

ALL = np.ones(6, dtype=bool)
ETHANOL_THRICE = ["CCO", "C", "CCO", "N", "CCO", "C"]


def draws_of(molecules, resamples=50, seed=0):
    numbers = numbered(molecules, np.ones(len(molecules), dtype=bool))
    return list(drawn_rows(numbers, resamples, seed))


def test_molecules_are_numbered_in_the_order_of_their_first_rows():
    assert numbered(ETHANOL_THRICE, ALL).tolist() == [0, 1, 0, 2, 0, 1]
    assert numbered(np.array([7, -2, 7, 0, 7, -2]), ALL).tolist() == [0, 1, 0, 2, 0, 1]


def test_rows_that_do_not_count_leave_no_gap_in_the_numbers():
    there = np.array([False, True, False, True, False, True])
    assert numbered(ETHANOL_THRICE, there).tolist() == [0, 1, 0]
    assert numbered(None, there).tolist() == [0, 1, 2]


def test_as_many_molecules_as_there_are_are_drawn_each_with_all_its_rows():
    rows_of = {0: [0, 2, 4], 1: [1, 5], 3: [3]}
    for rows in draws_of(ETHANOL_THRICE):
        firsts = [row for row in rows.tolist() if row in rows_of]
        assert len(firsts) == 3
        assert rows.tolist() == [row for first in firsts for row in rows_of[first]]


def test_molecules_that_stand_once_are_drawn_as_rows_without_names_are():
    names = [f"C{i}" for i in np.random.default_rng(0).permutation(40)]
    random = np.random.default_rng(3)
    for named, row in zip(draws_of(names, seed=3), draws_of(range(40), seed=3), strict=True):
        assert named.tolist() == row.tolist() == random.integers(40, size=40).tolist()


@pytest.mark.parametrize("molecules", [ETHANOL_THRICE, list("abcdef"), list("aaaaaa")])
def test_counts_are_those_of_the_drawn_rows(molecules):
    counts = drawn_counts(numbered(molecules, ALL), 50, 0)
    for rows, counted in zip(draws_of(molecules), counts, strict=True):
        assert np.bincount(rows, minlength=6).tolist() == counted.tolist()


def test_without_rows_nothing_is_drawn():
    nothing = numbered(None, np.zeros(0, dtype=bool))
    assert list(drawn_rows(nothing, 5, 0)) == list(drawn_counts(nothing, 5, 0)) == []


def test_names_that_are_not_one_for_each_row_are_refused():
    with pytest.raises(ValueError, match=r"molecules have the shape \(2,\); \(6,\) was expected"):
        numbered(["C", "N"], ALL)
