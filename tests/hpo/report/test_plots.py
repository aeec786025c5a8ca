import io
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image

from chemprop_hpo.hpo.report.calibration import draw_coverage
from chemprop_hpo.hpo.report.classification import draw_classification
from chemprop_hpo.hpo.report.comparison import draw_comparison
from chemprop_hpo.hpo.report.content import EnsembleTarget, Judged, Member, Target
from chemprop_hpo.hpo.report.drawing import house_style
from chemprop_hpo.hpo.report.fold_colours import PALETTE
from chemprop_hpo.hpo.report.folds import draw_folds, draw_members
from chemprop_hpo.hpo.report.learning_curves import draw_learning_curves
from chemprop_hpo.hpo.report.parity import draw_parity
from chemprop_hpo.hpo.report.parity_by_fold import MOST_PANELS, draw_parity_by_fold
from chemprop_hpo.hpo.report.plots import draw_pictures
from chemprop_hpo.hpo.report.residuals import draw_residuals
from tests.hpo.report.made_content import NINE, interval, made_content, without_test

REGRESSION = {"coverage", "folds", "learning_curves", "members", "r2", "rmse"}
CLASSIFICATION = {"folds", "learning_curves", "members", "prc_auc", "roc_auc"}


def drawn(content):
    return {p.file.removesuffix(".png"): p for p in draw_pictures(content).every()}


@lru_cache
def of_one_target():
    return drawn(made_content())


def draw(function, *arguments):
    with house_style():
        return function(*arguments, "picture.png")


def parity(content):
    result = content.ensembles[-1].targets[0]
    return draw(draw_parity, content.targets[0], result, "combined")


def residuals(content):
    result = content.ensembles[-1].targets[0]
    return draw(draw_residuals, content.targets[0], result, "combined")


def by_fold(content):
    result = content.ensembles[-1].targets[0]
    return draw(draw_parity_by_fold, content.targets[0], result, "combined")


def shows(picture, colour):
    """Whether a colour is there as it is named, not only mixed with another."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (abs(pixels(picture) - wanted).sum(axis=2) < 9).sum() > 20


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"), np.int64)


def assert_shows_something(picture):
    image = pixels(picture)
    height, width, _ = image.shape
    assert 250 <= width <= 1400
    assert 100 <= height <= 4000
    assert picture.width * 1.4 < width  # sharp also on a screen of high resolution
    ink = (image.sum(axis=2) < 600).mean()
    assert 0.002 < ink < 0.6
    assert picture.alt
    assert picture.caption.endswith(".")


def assert_nothing_is_cut_off(picture):
    """Only white at the edge: what is cut off reaches it."""
    image = pixels(picture)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge > 230).all(), picture.alt


def with_result(content, change):
    """Change what the last ensemble gives for the first target."""
    *others, last = content.ensembles
    changed = replace(last, targets=(change(last.targets[0]), *last.targets[1:]))
    return replace(content, ensembles=(*others, changed))


# ----------------------------------------------------------------------------- which there are


def test_a_regression_has_its_pictures():
    pictures = of_one_target()
    assert set(pictures) == REGRESSION | {"parity_01_solubility", "residuals_01_solubility"}
    for picture in pictures.values():
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)


def test_a_classification_has_its_pictures():
    pictures = drawn(made_content((Target("active"),), task="classification", rows=200))
    assert set(pictures) == CLASSIFICATION | {"curves_01_active"}
    for picture in pictures.values():
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)


def test_several_targets_have_pictures_of_their_own():
    assert set(drawn(made_content(NINE[:2], ranks=1, folds=1))) - REGRESSION == {
        "macro",
        "parity_01_logd",
        "parity_02_ksol",
        "residuals_01_logd",
        "residuals_02_ksol",
    }


def test_nine_targets_have_a_panel_each():
    content = made_content(NINE)
    for picture in (draw(draw_comparison, content, "rmse"), draw(draw_coverage, content)):
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)
        assert pixels(picture).shape[0] > 900  # three rows of panels


def test_without_test_data_there_is_a_panel_less():
    content = without_test(made_content())
    panel, both = (pixels(p).shape[1] for p in (parity(content), parity(made_content())))
    assert panel < 0.6 * both
    panel, both = (pixels(p).shape[0] for p in (residuals(content), residuals(made_content())))
    assert panel < 0.6 * both
    for picture in (draw(draw_comparison, content, "rmse"), draw(draw_coverage, content)):
        assert_shows_something(picture)


def test_a_study_without_members_and_folds_has_no_pictures_of_them():
    content = replace(made_content(folds=0), members=())
    for function in (draw_folds, draw_members, draw_learning_curves):
        assert draw(function, content) is None


# ----------------------------------------------------------------------------- hard content


@pytest.mark.parametrize(
    ("transform", "rows", "test_rows"),
    [("none", 1, 1), ("log10p1", 2, 3), ("none", 5000, 1200), ("log10", 5000, 1200)],
)
def test_few_and_many_rows_are_drawn_in_every_unit(transform, rows, test_rows):
    content = made_content((Target("KSOL", "µM", transform),), rows=rows, test_rows=test_rows)
    for picture in (parity(content), residuals(content)):
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)


HARD_NAMES = (
    "a target whose name goes on and on, over all borders of every panel that there is " * 2,
    "W" * 80,
    "$\\frac{a$ <b>bold</b> & \u6eb6\u89e3\u5ea6",
)


def test_names_of_any_kind_are_drawn_and_not_cut_off(recwarn):
    content = made_content(tuple(Target(name, name) for name in HARD_NAMES), ranks=0)
    for picture in (
        draw(draw_comparison, content, "rmse"),
        draw(draw_coverage, content),
        *(parity(replace(content, targets=(target,))) for target in content.targets[:2]),
        residuals(content),
    ):
        assert_nothing_is_cut_off(picture)
    assert not [str(w.message) for w in recwarn if "Glyph" in str(w.message)]


def test_names_of_any_kind_make_names_of_files():
    names = ("../../etc/passwd", "%$#", "a" * 300, "LogD")
    content = made_content(tuple(map(Target, names)), test_rows=0, ranks=1, folds=0)
    (*_, last) = content.ensembles
    nothing = {"coverage": {}, "figures": {}, "transformed_figures": None, "similarity": None}
    bare = (replace(r, out_of_fold=replace(r.out_of_fold, **nothing)) for r in last.targets)
    last = replace(last, targets=tuple(bare), macro_out_of_fold=None)
    content = replace(content, members=(), ensembles=(last,))
    files = [picture.file for picture in draw_pictures(content).every()]
    assert files == [
        "parity_01_etc_passwd.png",
        "parity_02_target.png",
        f"parity_03_{'a' * 40}.png",
        "parity_04_logd.png",
    ]


def test_a_single_member_of_one_rank_is_drawn():
    content = made_content(ranks=1, folds=1)
    for function in (draw_learning_curves, draw_members, draw_folds):
        assert_shows_something(draw(function, content))


def test_curves_with_gaps_or_nothing_but_gaps_are_drawn_where_there_is_something():
    nan, content = float("nan"), made_content(ranks=2, folds=1)
    member = Member(1, 7, 0, 0, 1, 4, 2, 0.5, "max_t", (nan, 0.5, float("inf"), 0.7))
    empty = replace(member, rank=2, curve=(nan, nan), best_epoch=None, value=None)
    both, none = (replace(content, members=m) for m in ((member, empty), (empty,)))
    assert_shows_something(draw(draw_learning_curves, both))
    assert draw(draw_learning_curves, none) is None


def test_rows_without_spread_intervals_or_similarity_are_drawn():
    def stripped(result):
        test = replace(result.test, half_widths={}, coverage={}, similarity=None)
        return EnsembleTarget(None, replace(test, std=np.full(test.n, np.nan)))

    content = with_result(made_content(), stripped)
    assert draw(draw_coverage, content) is None
    assert residuals(content) is None
    picture = parity(content)
    assert "There are no intervals" in picture.caption
    assert_shows_something(picture)


def test_constant_labels_and_predictions_are_drawn():
    def flat(result):
        same = np.full(result.test.n, 2.0)
        test = replace(result.test, labels=same, mean=same, half_widths={}, coverage={})
        return replace(result, test=test, out_of_fold=None)

    content = with_result(made_content(), flat)
    assert_shows_something(parity(content))
    assert_shows_something(residuals(content))


def test_a_class_that_is_missing_is_said_and_has_no_curve():
    def one_class(result):
        return replace(result, test=replace(result.test, labels=np.zeros(result.test.n)))

    content = with_result(made_content((Target("active"),), task="classification"), one_class)
    result = content.ensembles[-1].targets[0]
    picture = draw(draw_classification, content.targets[0], result, "combined")
    assert "only one class in test" in picture.caption
    assert_shows_something(picture)


def test_figures_that_are_not_defined_leave_their_picture_out():
    def undefined(ensemble):
        nowhere, result = interval(np.nan, np.nan), ensemble.targets[0]
        parts = (replace(j, figures={"rmse": nowhere}) for j in (result.out_of_fold, result.test))
        return replace(ensemble, targets=(EnsembleTarget(*parts),))

    content = made_content()
    content = replace(content, ensembles=tuple(map(undefined, content.ensembles)))
    assert draw(draw_comparison, content, "rmse") is None
    assert draw(draw_comparison, content, "r2") is None
    assert draw(draw_folds, content) is None


# ----------------------------------------------------------------------------- folds


@pytest.mark.parametrize("folds", [2, 8, 10])
def test_few_rows_out_of_fold_have_the_colour_of_their_fold(folds):
    content = made_content(folds=folds, rows=200, ranks=1)
    plain = made_content(folds=0, rows=200)
    for picture, without in (
        (parity(content), parity(plain)),
        (residuals(content), residuals(plain)),
    ):
        assert [shows(picture, colour) for colour in PALETTE] == [i < folds for i in range(10)]
        assert not any(shows(without, colour) for colour in PALETTE)
        assert "fold that left" in picture.caption
        assert "fold that left" not in without.caption
    assert by_fold(content) is None


@pytest.mark.parametrize("change", [lambda c: c, without_test])
@pytest.mark.parametrize("folds", [2, 8])
def test_the_names_of_folds_fit_below_one_panel_and_below_two(change, folds):
    content = change(made_content(NINE[4:5], folds=folds, ranks=1))
    for picture in (parity(content), residuals(content), draw(draw_learning_curves, content)):
        assert_shows_something(picture)
        assert_nothing_is_cut_off(picture)


@pytest.mark.parametrize(("folds", "rows"), [(11, 110), (8, 501), (MOST_PANELS, 600), (2, 501)])
def test_where_colours_would_not_be_told_apart_each_fold_has_a_panel(folds, rows):
    content = made_content(NINE[:1], folds=folds, rows=rows, ranks=1)
    assert not any(shows(parity(content), colour) for colour in PALETTE)
    assert_shows_something(by_fold(content))
    assert_nothing_is_cut_off(by_fold(content))


def test_a_report_on_many_rows_has_a_panel_for_each_fold():
    content = replace(made_content(rows=600, ranks=0, test_rows=0), members=())
    assert "parity_by_fold_01_solubility" in drawn(content)


def test_very_many_folds_and_a_single_one_have_no_panels_each():
    for folds in (1, MOST_PANELS + 1):
        content = made_content(folds=folds, rows=600, ranks=1)
        assert by_fold(content) is None
        assert "fold that left" not in parity(content).caption


def test_curves_have_the_colours_of_their_folds_where_folds_are_few():
    shown = [
        [shows(draw(draw_learning_curves, made_content(folds=n, ranks=1)), c) for c in PALETTE[:4]]
        for n in (1, 4, 11)
    ]
    assert shown == [[False] * 4, [True] * 4, [False] * 4]


def test_a_fold_has_the_same_colour_where_another_one_is_missing():
    content = made_content(folds=3, rows=90, ranks=1)
    without = tuple(member for member in content.members if member.fold != 1)

    def gone(result):
        folds = np.where(result.out_of_fold.folds == 1, 2, result.out_of_fold.folds)
        return replace(result, out_of_fold=replace(result.out_of_fold, folds=folds))

    curves = draw(draw_learning_curves, replace(content, members=without))
    for picture in (curves, parity(with_result(content, gone))):
        assert [shows(picture, colour) for colour in PALETTE[:3]] == [True, False, True]


def test_folds_of_several_splits_are_not_taken_for_each_other():
    content = made_content(folds=2, ranks=1)
    again = tuple(
        replace(m, split=1, curve=tuple(0.3 + x for x in m.curve)) for m in content.members
    )
    picture = draw(draw_learning_curves, replace(content, members=(*content.members, *again)))
    assert all(shows(picture, colour) for colour in PALETTE[:4])


def test_a_sample_of_rows_is_said_to_be_one():
    def sampled(result):
        similarity = result.out_of_fold.similarity.copy()
        similarity[::3] = np.nan
        return replace(result, out_of_fold=replace(result.out_of_fold, similarity=similarity))

    picture = residuals(with_result(made_content(), sampled))
    assert "Out of fold, 40 of 60 rows were drawn at random." in picture.caption
    assert "at random" not in residuals(made_content()).caption


# ----------------------------------------------------------------------------- what they say


def test_rows_outside_their_interval_do_not_look_like_the_others():
    labels = np.linspace(0, 1, 40)
    orange = []
    for width in (9.0, 1e-6):
        half = {90: np.full(40, width)}
        judged = Judged(labels, labels[::-1].copy(), np.zeros(40), {}, half_widths=half)
        content = with_result(made_content(), lambda r, j=judged: EnsembleTarget(None, j))
        image = pixels(parity(content))
        orange.append((abs(image - [213, 94, 0]).sum(axis=2) < 90).sum())
    assert orange[0] > 3 * orange[1]  # the title is orange too


def test_captions_name_the_ensemble_and_the_level_that_is_drawn():
    pictures = of_one_target()
    assert "combined" in pictures["parity_01_solubility"].caption
    assert "90 % prediction intervals" in pictures["parity_01_solubility"].caption
    assert "lower is better" in pictures["learning_curves"].caption


def test_a_figure_of_fewer_rows_is_a_hollow_mark_and_said():
    content = made_content()
    first, *others = content.ensembles
    few = replace(first.targets[0].out_of_fold, labels=np.zeros(9), mean=np.zeros(9))
    first = replace(first, targets=(replace(first.targets[0], out_of_fold=few),))
    picture = draw(draw_comparison, replace(content, ensembles=(first, *others)), "rmse")
    assert "fewer rows" in picture.caption
    assert "fewer rows" not in of_one_target()["rmse"].caption
    blue = [
        (abs(pixels(p) - [0, 114, 178]).sum(axis=2) < 60).sum()
        for p in (picture, of_one_target()["rmse"])
    ]
    assert blue[0] < blue[1]


def test_the_picture_of_the_same_content_is_the_same_file():
    assert draw(draw_comparison, made_content(), "rmse").png == of_one_target()["rmse"].png
