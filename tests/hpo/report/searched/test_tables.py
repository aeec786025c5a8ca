from dataclasses import replace

from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial
from chemprop_hpo.hpo.report.searched.tables import search_table
from tests.hpo.report.searched.made_search import made_search


def table_of(search):
    return search_table(search)


def rows_of(search):
    (group,) = table_of(search).groups
    return {row.name: [cell.text for cell in row.cells] for row in group.rows}


def crowded(parameter, value):
    trials = (SearchedTrial(i, float(i), {parameter.name: value}, i < 5) for i in range(12))
    return Search((parameter,), tuple(trials))


def test_each_parameter_has_its_range_that_of_the_top_the_best_and_its_importance():
    def trial(number, lr, head, top):
        return SearchedTrial(number, number / 10, {"lr": lr, "head": head}, top)

    parameters = (
        SearchedParameter("lr", 1e-4, 1e-1, log=True, importance=0.7, by_chance=0.2),
        SearchedParameter("head", choices=("a", "b"), importance=0.3, by_chance=0.4),
    )
    trials = (trial(4, 2e-3, "b", True), trial(5, 5e-3, "a", True), trial(6, 1e-4, "b", False))
    found = Search(parameters, trials)
    assert rows_of(found) == {
        "lr": ["0.0001 to 0.1, log", "0.002 to 0.005", "0.002", "70 %", ""],
        "head": ["a, b", "a (1), b (1)", "b", "30 %", ""],
    }
    (group,) = table_of(found).groups
    assert [row.cells[3].detail for row in group.rows] == ["", "may be chance"]
    assert "Best (trial 4)" in table_of(found).header


def test_a_crowd_at_an_end_is_told_with_what_to_do():
    told = {
        "high": (SearchedParameter("lr", 1e-4, 1e-1, log=True), 9e-2),
        "low": (SearchedParameter("lr", 1e-4, 1e-1, log=True), 1e-4),
        "above": (SearchedParameter("lr", choices=(16, 64, 32)), 64),
        "below": (SearchedParameter("lr", choices=(16, 64, 32)), 16),
        "wall": (SearchedParameter("lr", 0.0, 0.4, can_be_lower=False), 0.0),
    }
    observations = {key: rows_of(crowded(*value))["lr"][-1] for key, value in told.items()}
    assert observations["high"].endswith("high end: widen lr upwards")
    assert observations["low"].endswith("low end: widen lr downwards")
    assert observations["above"].endswith("add choices of lr above 64")
    assert observations["below"].endswith("add choices of lr below 16")
    assert observations["wall"].endswith("low end, the least that is possible")


def test_what_the_best_trial_did_not_take_is_a_dash():
    absent = SearchedParameter("n_experts", 2, 8, 1, condition="ffn_type == 'moe'")
    search = Search((absent,), (SearchedTrial(0, 0.5, {}, True),))
    assert rows_of(search)["n_experts"] == ["2 to 8", "–", "–", "–", ""]
    (group,) = table_of(search).groups
    assert group.rows[0].cells[0].detail == "if ffn_type == 'moe'"


def test_why_importances_are_not_known_is_said():
    few = replace(made_search(4, 3), reason="there are 4 complete trials")
    assert "Importances are not known: there are 4 complete trials." in table_of(few).caption
    assert "With so few trials" in table_of(few).caption


def test_a_search_of_nothing_has_no_table():
    assert table_of(None) is None
    assert table_of(Search((), made_search(5, 1).trials)) is None
    assert table_of(Search(made_search(5, 1).parameters, ())) is None
