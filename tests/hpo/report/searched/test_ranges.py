import pytest

from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial
from chemprop_hpo.hpo.report.searched.ranges import choice_counts, crowded_end, places, top_span
from tests.hpo.report.searched.made_search import made_search

LR = SearchedParameter("lr", 1e-4, 1e-1, log=True)
DEPTH = SearchedParameter("depth", 2, 6, 1)
DROPOUT = SearchedParameter("dropout", 0.0, 1.0)
SIZE = SearchedParameter("size", choices=(64, 16, 128, 32))
HEAD = SearchedParameter("head", choices=("a", "b", "c"))
NORM = SearchedParameter("norm", choices=(True, False))


def search(parameter, top, others=None):
    """Make a search whose top trials have the values given, and the others too."""
    others = list(top) if others is None else others
    trials = [
        SearchedTrial(i, float(i), {} if value is None else {parameter.name: value}, i < len(top))
        for i, value in enumerate((*top, *others))
    ]
    return Search((parameter,), tuple(trials))


@pytest.mark.parametrize(
    ("parameter", "top", "end"),
    [
        (DROPOUT, (0.95, 0.99, 1.0, 0.93, 0.2), "high"),
        (DROPOUT, (0.0, 0.01, 0.05, 0.3, 0.1), "low"),
        (DROPOUT, (0.1, 0.3, 0.5, 0.7, 0.9), None),
        (DROPOUT, (0.85, 0.86, 0.87, 0.88, 0.89), None),
        # As a number 2e-3 is at the low end, on the logarithm it is not.
        (LR, (2e-3, 2e-3, 2e-3, 2e-3, 2e-3), None),
        (LR, (6e-2, 7e-2, 9e-2, 1e-1, 1e-3), "high"),
        # One value of five is a fifth of them: three of five may be chance, four not.
        (DEPTH, (6, 6, 6, 2, 3), None),
        (DEPTH, (6, 6, 6, 6, 3), "high"),
        (DEPTH, (5, 5, 5, 5, 5), None),
        # Numbers in a list are taken by their size, not by where they stand.
        (SIZE, (128,) * 5, "high"),
        (SIZE, (16,) * 5, "low"),
        (SIZE, (32,) * 5, None),
        (HEAD, ("c",) * 6, None),
        (NORM, (False,) * 10, None),
    ],
)
def test_a_crowd_at_an_end_is_seen_and_nothing_else(parameter, top, end):
    assert crowded_end(search(parameter, top), parameter) == end


def test_no_crowd_is_seen_where_the_top_is_most_of_the_trials():
    assert crowded_end(search(DROPOUT, (1.0,) * 5, others=(0.5,) * 4), DROPOUT) is None
    assert crowded_end(search(DROPOUT, (1.0,) * 5, others=(0.5,) * 5), DROPOUT) == "high"


def test_trials_of_other_branches_do_not_count():
    few = search(DROPOUT, (1.0, 1.0, None, None, None))
    assert crowded_end(few, DROPOUT) is None
    assert top_span(few, DROPOUT) == (1.0, 1.0)
    assert len(places(few, DROPOUT)) == 4


def test_the_span_is_that_of_the_top_alone():
    assert top_span(search(DEPTH, (3, 5, 4), others=(2, 6)), DEPTH) == (3, 5)
    assert top_span(search(DEPTH, (None,), others=(2,)), DEPTH) is None


def test_choices_are_counted_of_the_top_and_of_all_with_true_apart_from_one():
    both = SearchedParameter("x", choices=(1, True, 2))
    found = search(both, (1, True, True), others=(2, True))
    assert choice_counts(found, both) == [(1, 1, 1), (True, 2, 3), (2, 0, 1)]


def test_a_value_that_is_no_longer_in_the_list_has_no_place():
    assert HEAD.place("z") is None
    assert LR.place(0.0) is None
    assert LR.place("z") is None
    assert places(search(HEAD, ("a", "z")), HEAD) == [(0, 0.0), (0, 2.0)]


def test_where_good_learning_rates_lie_at_the_high_end_it_is_seen():
    found = made_search()
    assert [p.name for p in found.parameters if crowded_end(found, p)] == ["max_lr"]
