import pytest

from chemprop_hpo.hpo.evaluation.bounds import at_least, at_most, least_fit


@pytest.mark.parametrize(
    ("figure", "bound", "holds"),
    [
        (0.1 + 0.2, 0.3, True),
        (0.3, 0.1 + 0.2, True),
        (0.3 + 1e-6, 0.3, False),
        (0.3 - 1e-6, 0.3, True),
        (0.0, 0.0, True),
        (1e-300, 0.0, False),
        (-1.0, 0.0, True),
        (-1.0, -1.0 - 1e-6, False),
        (float("inf"), 0.3, False),
        (0.3, float("inf"), True),
        (float("nan"), 0.3, False),
        (1e12 + 1, 1e12, True),
        (1e12 + 1e4, 1e12, False),
    ],
)
def test_what_lies_on_a_bound_holds_up_to_rounding(figure, bound, holds):
    assert at_most(figure, bound) is holds
    assert at_least(-figure, -bound) is holds


@pytest.mark.parametrize(
    ("best", "least"), [(0.8, 0.76), (0.0, 0.0), (-0.2, -0.21), (1e-6, 0.95e-6), (-10.0, -10.5)]
)
def test_the_least_fit_lies_below_the_best_whatever_its_sign(best, least):
    assert least_fit(best, 0.05) == pytest.approx(least)
    assert least_fit(best, 0.0) == best
