from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from chemprop_hpo.hpo.report.plots import draw_pictures
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial
from chemprop_hpo.hpo.report.searched.importance_bars import draw_importances
from chemprop_hpo.hpo.report.searched.parallel import draw_parallel_coordinates
from chemprop_hpo.hpo.report.searched.slices import _make_logarithmic, draw_slices
from tests.hpo.report.made_content import made_content
from tests.hpo.report.searched.made_search import made_search
from tests.hpo.report.test_plots import (
    assert_nothing_is_cut_off,
    assert_shows_something,
    draw,
    pixels,
)

BLUE = [0, 114, 178]


def blue(picture):
    return int((abs(pixels(picture) - BLUE).sum(axis=2) < 40).sum())


@pytest.mark.parametrize(("trials", "parameters"), [(1, 1), (4, 3), (100, 14)])
def test_few_and_many_parameters_and_trials_are_drawn(trials, parameters):
    search = made_search(trials, parameters)
    for function in (draw_slices, draw_importances, draw_parallel_coordinates):
        picture = draw(function, search)
        if function is draw_parallel_coordinates and parameters == 1:
            assert picture is None
            continue
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)


def test_there_are_no_pictures_of_a_search_that_is_not_known():
    made = made_search(4, 2)
    unknown = tuple(replace(p, importance=None, by_chance=None) for p in made.parameters)
    assert draw(draw_importances, replace(made, parameters=unknown)) is None
    for search in (None, Search((), made.trials), Search(made.parameters, ())):
        assert draw(draw_slices, search) is None
        assert draw(draw_parallel_coordinates, search) is None


def test_all_pictures_are_among_those_of_the_report():
    files = [
        p.file
        for p in draw_pictures(
            replace(made_content(rows=4, test_rows=0, ranks=1, folds=1), search=made_search(12, 2))
        ).search
    ]
    assert files == ["importances.png", "slices.png", "parallel_coordinates.png"]


def test_the_top_trials_and_what_is_beyond_chance_stand_out():
    made = made_search(40, 1)
    plain = replace(made, trials=tuple(replace(t, top=t is made.trials[0]) for t in made.trials))
    few, many = (blue(draw(draw_slices, s)) for s in (plain, made))
    assert many > few + 100
    (parameter,) = made.parameters
    chance = replace(made, parameters=(replace(parameter, importance=0.05),))
    assert blue(draw(draw_importances, chance)) == 0
    assert blue(draw(draw_importances, made)) > 1000


def test_the_span_of_the_top_is_shaded_only_where_it_tells_something():
    def shaded(search):
        image = pixels(draw(draw_slices, search))
        return (abs(image - [229, 241, 247]).sum(axis=2) < 10).mean()

    assert shaded(made_search(40, 1)) > 0.03
    assert shaded(made_search(6, 1)) == 0


@pytest.mark.parametrize("mode", ["min", "max"])
def test_values_far_off_do_not_squeeze_the_others(mode):
    sign = 1.0 if mode == "min" else -1.0
    lr = SearchedParameter("lr", 1.0, 2.0)
    values = [*np.linspace(0.5, 0.7, 30), 1e6]
    trials = tuple(
        SearchedTrial(i, sign * v, {"lr": 1 + i / 30}, i < 6) for i, v in enumerate(values)
    )
    picture = draw(draw_slices, Search((lr,), trials, mode=mode))
    assert "far worse (1)" in picture.caption
    assert_nothing_is_cut_off(picture)
    rows = np.flatnonzero((abs(pixels(picture) - BLUE).sum(axis=2) < 40).any(axis=1))
    assert np.ptp(rows) > 20  # the top trials do not lie on each other


def test_values_beyond_the_range_of_now_and_equal_values_are_drawn():
    lr = SearchedParameter("lr", 1e-3, 1e-2, log=True)
    trials = (SearchedTrial(i, 0.5, {"lr": v}, True) for i, v in enumerate((1e-5, 5e-3, 1.0)))
    picture = draw(draw_slices, Search((lr,), tuple(trials)))
    assert_shows_something(picture)
    assert_nothing_is_cut_off(picture)


def test_names_and_choices_of_any_length_are_drawn_and_not_cut_off():
    names = ("a" * 60, "b" * 60, "$c_", *map(str, range(9)))
    long = SearchedParameter("W" * 60, choices=names, condition="x == 'y' and " * 9)
    made = made_search(12, 1).parameters[0]
    trials = (SearchedTrial(i, i / 9, {long.name: n}, i < 5) for i, n in enumerate(names))
    long = replace(long, importance=0.5, by_chance=0.9)
    search = Search((long, made), tuple(trials))
    for function in (draw_slices, draw_importances, draw_parallel_coordinates):
        assert_nothing_is_cut_off(draw(function, search))


def test_captions_say_which_trials_count():
    search = made_search(100, 2)
    assert "100 complete ones and 50 that were stopped" in draw(draw_importances, search).caption
    assert "Blue: the best 10" in draw(draw_slices, search).caption
    assert "Blue: the best 10;" in draw(draw_parallel_coordinates, search).caption


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.12), (3e-4, 8e-4), (1e-4, 3e-3), (1e-9, 1.0)])
def test_logarithmic_ranges_have_at_least_two_labels_in_view(low, high):
    (axis,) = Figure().subplots(1, 1, squeeze=False)[0]
    _make_logarithmic(axis, low, high)
    ends = axis.get_xlim()
    labels = [
        label.get_text()
        for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        if ends[0] <= place <= ends[1]
    ]
    assert 2 <= len([label for label in labels if label]) <= 6
    assert not any("$" in label for label in labels)
