import pytest

from chemprop_hpo.hpo.report.drawing import in_lines


def test_a_short_name_stays_as_it_is():
    assert in_lines("LogD", 2) == "LogD"


def test_a_name_breaks_at_a_space_and_loses_no_letter():
    broken = in_lines("Caco-2 Permeability Papp A>B", 1.8)
    assert broken.split("\n") == ["Caco-2 Permeability", "Papp A>B"]


def test_a_name_too_long_for_all_lines_is_cut_short_visibly():
    lines = in_lines("word " * 40, 1.5).split("\n")
    assert len(lines) == 2
    assert lines[1].endswith("…")


def test_wide_letters_take_more_lines_than_narrow_ones():
    assert "\n" in in_lines("W" * 20, 1.8)
    assert "\n" not in in_lines("i" * 20, 1.8)


def test_a_space_that_holds_together_is_no_break():
    assert in_lines("some long\u00a0+\u00a01", 0.8) == "some\nlong\u00a0+\u00a01"


@pytest.mark.parametrize("name", ["", "  ", "a", "W"])
def test_names_of_hardly_any_letters_survive_hardly_any_space(name):
    assert in_lines(name, 0.01) == name.strip()
