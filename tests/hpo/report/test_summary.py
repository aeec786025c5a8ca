from dataclasses import replace

import numpy as np
import pytest

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.alarms import alarms
from chemprop_hpo.hpo.report.content import Coverage, EnsembleTarget, Member
from chemprop_hpo.hpo.report.gains import gains, verdict
from chemprop_hpo.hpo.report.summary import summary
from tests.hpo.report.made_content import NINE, interval, made_content, without_test


def said(content):
    found = [gains(content, i) for i in range(len(content.targets))]
    return " ".join(summary(content, found))


def with_last_mean(content, mean):
    """Let the last ensemble predict something else on test data."""
    *others, last = content.ensembles
    result = last.targets[0]
    changed = replace(result, test=replace(result.test, mean=mean(result.test)))
    return replace(content, ensembles=(*others, replace(last, targets=(changed,))))


def with_members(*members):
    return replace(made_content(), members=members)


def member(fold, **changes):
    return replace(Member(1, 7, 0, fold, 1, 30, 12, 0.5, "early_stopping"), **changes)


# ----------------------------------------------------------------------------- gains


def test_a_gain_is_measured_on_test_data_and_only_against_the_first():
    content = made_content()
    found = gains(content, 0)
    test = [e.targets[0].test for e in content.ensembles]
    errors = [np.sqrt(np.square(j.mean - j.labels).mean()) for j in test]
    assert found[0] is None
    assert found[-1].value == pytest.approx(errors[0] - errors[-1])


def test_without_test_data_gains_are_out_of_fold():
    content = without_test(made_content())
    parts = [e.targets[0].out_of_fold for e in content.ensembles]
    errors = [np.sqrt(np.square(j.mean - j.labels).mean()) for j in parts]
    assert gains(content, 0)[-1].value == pytest.approx(errors[0] - errors[-1])


def test_there_is_no_gain_between_different_rows():
    content = made_content()
    first, *others = content.ensembles
    result = first.targets[0]
    fewer = replace(result.test, labels=result.test.labels[:5], mean=result.test.mean[:5])
    first = replace(first, targets=(replace(result, test=fewer),))
    content = replace(content, ensembles=(first, *others))
    assert gains(content, 0) == (None,) * 5
    assert "single best was judged on rows of its own (5 labels against 40)." in said(content)


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (Interval(0.2, 0.1, 0.3), "better"),
        (Interval(-0.2, -0.3, -0.1), "worse"),
        (Interval(0.1, -0.1, 0.3), "open"),
        (Interval(0.1, np.nan, np.nan), "open"),
        (None, "open"),
    ],
)
def test_a_gain_is_clear_where_its_interval_does_not_hold_zero(gain, expected):
    assert verdict(gain) == expected


# ----------------------------------------------------------------------------- the sentences


def test_a_clear_gain_is_called_clear_and_its_size_given():
    text = said(with_last_mean(made_content(), lambda j: j.labels + 0.01 * (j.mean - j.labels)))
    assert "It is clearly better than single best: a gain in RMSE" in text


def test_a_clear_loss_is_called_a_loss():
    text = said(with_last_mean(made_content(), lambda j: j.labels + 5 * (j.mean - j.labels)))
    assert "It is clearly worse than single best" in text


def test_what_is_the_same_stays_open():
    content = made_content()
    mean = content.ensembles[0].targets[0].test.mean
    text = said(with_last_mean(content, lambda j: mean))
    assert "Whether it is better than single best stays open: a gain in RMSE" in text


def test_several_targets_are_counted():
    text = said(made_content(NINE))
    assert "a mean RAE over targets of 0.506 [0.446, 0.566]" in text
    assert "in 5 of 9 and clearly worse in 0; in 4 that stays open" in text
    assert "% of 360 test labels" in text


def test_the_shares_of_several_targets_are_pooled_by_rows():
    content = made_content(NINE[:2], rows=40)
    *others, last = content.ensembles
    shares = (Coverage(1.0, 10), Coverage(0.5, 30))
    targets = tuple(
        EnsembleTarget(r.out_of_fold, replace(r.test, coverage={90: share}))
        for r, share in zip(last.targets, shares, strict=True)
    )
    content = replace(content, ensembles=(*others, replace(last, targets=targets)))
    assert "The 90 % prediction intervals of combined held 62 % of 40 test labels" in said(content)


def test_the_best_out_of_fold_is_named_and_a_model_of_one_fold_is_none_to_compare():
    content = made_content(rows=400)
    assert "Out of fold, combined is the best of all: 0.6" in said(content)
    first, *others = content.ensembles
    few = first.targets[0].out_of_fold
    figures = {"rmse": interval(0.001, 0.0001)}
    few = replace(few, labels=few.labels[:9], mean=few.mean[:9], figures=figures)
    first = replace(first, targets=(replace(first.targets[0], out_of_fold=few),))
    content = replace(content, ensembles=(first, *others))
    assert "Out of fold, combined is the best of all: 0.6" in said(content)


def test_another_ensemble_that_is_better_out_of_fold_is_named():
    content = made_content()
    assert "Out of fold, rank 1 is the best: 0.687 [0.598, 0.776] log mol/L; combined" in said(
        content
    )


def test_without_a_mean_figure_of_the_first_only_that_of_the_last_is_given():
    content = made_content(NINE[:2])
    first, *others = content.ensembles
    first = replace(first, macro_test=None)
    text = said(replace(content, ensembles=(first, *others)))
    assert "combined has a mean RAE over targets of 0.506 [0.446, 0.566]. " in text


# ----------------------------------------------------------------------------- alarms


def test_a_good_study_raises_no_alarm():
    assert alarms(made_content(rows=400, test_rows=200, seed=2)) == ()


def test_warnings_of_the_content_come_first():
    content = replace(made_content(test_rows=5), warnings=("Fold 3 was left out.",))
    assert alarms(content)[0] == "Fold 3 was left out."


def test_failed_members_are_named_up_to_five():
    failed = [member(fold, error="out of memory") for fold in range(7)]
    (alarm,) = (a for a in alarms(with_members(*failed, member(7))) if "failed" in a)
    assert alarm.startswith("7 of 8 members failed (rank 1, split 0, fold 0: out of memory;")
    assert alarm.endswith("and 2 more).")


def test_members_that_were_still_learning_are_said_when_they_are_most():
    still, done = member(0, best_epoch=30), member(1)
    assert any(
        "2 of 3 members were best at their very last epoch" in a
        for a in alarms(with_members(still, still, done))
    )
    assert not any("last epoch" in a for a in alarms(with_members(still, done, done)))


def test_few_labels_are_said():
    assert "solubility has 7 on test" in " ".join(alarms(made_content(test_rows=7)))


def test_missing_levels_are_not_said_again():
    told = "solubility: too few out-of-fold rows for intervals of 90 %, 95 %."
    content = replace(made_content(), warnings=(told,))
    *others, last = content.ensembles
    result = last.targets[0]
    test = replace(result.test, half_widths={80: result.test.half_widths[80]})
    last = replace(last, targets=(replace(result, test=test),))
    assert alarms(replace(content, ensembles=(*others, last))) == (told,)


@pytest.mark.parametrize(("share", "expected"), [(0.6, True), (0.88, False), (1.0, False)])
def test_intervals_that_break_their_promise_on_test_data_are_said(share, expected):
    content = made_content(test_rows=100)
    *others, last = content.ensembles
    result = last.targets[0]
    test = replace(result.test, coverage={90: Coverage(share, 100)})
    last = replace(last, targets=(replace(result, test=test),))
    text = " ".join(alarms(replace(content, ensembles=(*others, last))))
    assert ("too narrow" in text) == expected
    assert ("at 90 % held 60 % of 100 labels" in text) == expected


def test_a_target_that_was_not_judged_is_said():
    content = made_content(NINE[:2])
    *others, last = content.ensembles
    last = replace(last, targets=(EnsembleTarget(), last.targets[1]))
    text = " ".join(alarms(replace(content, ensembles=(*others, last))))
    assert "LogD could not be judged out of fold." in text
    assert "LogD has no labels in the test data." in text
