from dataclasses import replace

from chemprop_hpo.hpo.report.content import Decision
from chemprop_hpo.hpo.report.figure_tables import overview, target_table
from chemprop_hpo.hpo.report.gains import gains
from chemprop_hpo.hpo.report.study_tables import (
    configurations_table,
    decisions_table,
    members_table,
    weights_table,
)
from tests.hpo.report.made_content import NINE, interval, made_content


def texts(table):
    return [
        [row.name, *(cell.text for cell in row.cells)]
        for group in table.groups
        for row in group.rows
    ]


def test_trials_that_were_taken_stand_first_and_by_rank():
    content = made_content()
    shuffled = replace(content, decisions=content.decisions[::-1])
    assert [row[0] for row in texts(decisions_table(shuffled))] == ["11", "12", "13", "31"]


def test_many_trials_that_were_passed_over_are_counted_and_not_all_listed():
    passed = tuple(Decision(None, n, 0.7, False, "worse") for n in range(100))
    table = decisions_table(replace(made_content(), decisions=passed))
    assert table.n_rows == 30
    assert "70 more" in table.caption


def test_a_parameter_that_a_rank_has_not_got_is_a_dash():
    content = replace(made_content(), configurations={1: {"depth": 3}, 2: {"dropout": 0.1}})
    assert texts(configurations_table(content)) == [["depth", "3", "–"], ["dropout", "–", "0.1"]]


def test_members_stand_in_the_order_of_ranks_splits_and_folds():
    content = made_content(ranks=2, folds=3)
    table = members_table(replace(content, members=content.members[::-1]))
    assert [group.title for group in table.groups] == ["Rank 1 (trial 11)", "Rank 2 (trial 12)"]
    assert [row[0] for row in texts(table)] == ["0, 0", "0, 1", "0, 2"] * 2


def test_how_a_member_ended_is_said_in_words():
    member = made_content().members[0]
    reasons = ("max_t", "early_stopping", "nan", "waiting")
    members = tuple(replace(member, fold=i, stop_reason=r) for i, r in enumerate(reasons))
    rows = texts(members_table(replace(made_content(), members=members)))
    ended = ["all epochs trained", "early stopping", "loss not a number", "waiting"]
    assert [row[-1] for row in rows] == ended


def test_a_gain_says_what_it_is_a_gain_in():
    for targets in (NINE[:1], NINE[:2]):
        for task, loss in (("regression", "RMSE"), ("classification", "log loss")):
            content = made_content(targets, task=task)
            found = [gains(content, i) for i in range(len(targets))]
            assert loss in overview(content, found).caption


def test_each_target_has_its_weights_and_the_rule_that_chose_them():
    rows = texts(weights_table(made_content(NINE[:3])))
    assert rows[0] == ["rank 1, split 0", "33 %", "33 %", "62 %"]
    assert rows[3] == ["Rule used", "mean", "mean", "greedy"]


def test_tables_of_nothing_are_left_out():
    content = replace(made_content(), members=(), decisions=(), configurations={}, combinations=())
    tables = (decisions_table, configurations_table, members_table, weights_table)
    assert [table(content) for table in tables] == [None] * 4


def test_the_best_is_marked_in_the_right_direction_and_only_among_equal_rows():
    content = made_content()
    values = {"rmse": (0.1, 0.5, 0.4), "r2": (0.99, 0.8, 0.9)}

    def judged(ensemble, k, n):
        figures = {name: interval(of[k], 0.01) for name, of in values.items()}
        result = ensemble.targets[0]
        test = replace(result.test, figures=figures, labels=result.test.labels[:n])
        return replace(ensemble, targets=(replace(result, out_of_fold=None, test=test),))

    few = judged(content.ensembles[0], 0, 10)
    ensembles = (few, *(judged(content.ensembles[k], k, 40) for k in (1, 2)))
    content = replace(content, ensembles=ensembles)
    (group,) = target_table(content, 0, gains(content, 0)).groups
    marked = [[cell.text for cell in row.cells if cell.best] for row in group.rows]
    assert marked == [[], [], ["0.400", "0.900"]]
