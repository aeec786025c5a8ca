from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.predictor import tables
from chemprop_hpo.hpo.predictor.tables import OPEN_QUOTE, open_table


def rows_of(path: Path, text: str | bytes, smiles_col: str = "smiles") -> list[tables.Row]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with open_table(path, smiles_col) as table:
        return list(table)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.csv"


def test_cells_are_kept_as_they_are(path):
    rows = rows_of(path, '﻿name,smiles,note\n a ,CCO,"x, ""y"""\n,, \n')
    assert [row.cells for row in rows] == [(" a ", "CCO", 'x, "y"'), ("", "", " ")]
    assert [row.smiles for row in rows] == ["CCO", ""]


NOTES = st.text(st.characters(exclude_categories=["Cs"]))
SMILES_CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@given(st.lists(st.tuples(SMILES_CELLS, NOTES, NOTES), max_size=8))
def test_what_was_written_is_read(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("csv") / "in.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("smiles", "note", "note"), *cells])
    with open_table(path, "smiles") as table:
        assert [row.cells for row in table] == cells


def test_windows_line_ends_are_read(path):
    assert [r.cells for r in rows_of(path, "smiles,a\r\nCC,1\r\nCCC,2\r\n")] == [
        ("CC", "1"),
        ("CCC", "2"),
    ]


def test_a_cell_may_hold_line_breaks_where_it_is_no_smiles(path):
    (row, other) = rows_of(path, 'smiles,note\nCC,"one\ntwo"\nCCC,x\n')
    assert row.cells == ("CC", "one\ntwo")
    assert other.smiles == "CCC"


def test_empty_lines_within_are_rows_and_those_at_the_end_are_none(path):
    rows = rows_of(path, "smiles,a\nCC,1\n\nCCC,2\n\n\n")
    assert [row.cells for row in rows] == [("CC", "1"), ("", ""), ("CCC", "2")]


def test_a_row_may_be_short_or_end_in_commas(path):
    rows = rows_of(path, "a,smiles\nx\ny,CC,,\n")
    assert [(row.cells, row.smiles, row.error) for row in rows] == [
        (("x", ""), "", ""),
        (("y", "CC"), "CC", ""),
    ]


def test_a_row_with_too_many_cells_says_so_and_the_next_is_sound(path):
    long, sound = rows_of(path, "smiles,a\nCC,1,2\nCCC,3\n")
    assert long.smiles is None
    assert long.error.startswith("the row has 3 cells, the header has 2")
    assert long.cells == ("CC", "1,2")
    assert sound.smiles == "CCC"


@pytest.mark.parametrize("length", [3, 250])
def test_an_open_quote_costs_its_own_row_only(path, length):
    lines = ["smiles,a", *(f"{'C' * (i + 1)},{i}" for i in range(length))]
    lines[2] = '"CC,1'
    rows = rows_of(path, "\n".join(lines) + "\n")
    assert len(rows) == length
    assert rows[1].error == OPEN_QUOTE
    assert rows[1].cells == ('"CC', "1")
    assert [row.smiles for row in rows[2:]] == ["C" * (i + 1) for i in range(2, length)]


def test_two_slips_of_a_quote_cost_two_rows(path):
    rows = rows_of(path, 'smiles,a\n"CC,1\nCCC,2\n"CCCC,3\nCCCCC,4\n')
    assert [bool(row.error) for row in rows] == [True, False, True, False]
    assert rows[3].smiles == "CCCCC"


def test_a_cell_too_large_for_csv_costs_its_own_row_only(path):
    rows = rows_of(path, f"smiles,a\n{'C' * 200_000},1\nCC,2\n")
    assert "larger than field limit" in rows[0].error
    assert [row.smiles for row in rows] == [None, "CC"]


def test_bytes_that_are_no_utf8_are_handed_on(path):
    (row,) = rows_of(path, b"smiles,note\nCC,5 \xb5M\n")
    assert row.cells[1].encode(errors="surrogateescape") == b"5 \xb5M"


def test_equal_names_may_stand_twice_but_not_that_of_the_smiles(path):
    assert rows_of(path, "a,a, smiles \n1,2,CC\n")[0].smiles == "CC"
    with pytest.raises(DataError, match="2 columns are called 'smiles'"):
        rows_of(path, "smiles,smiles\nCC,CC\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("\n\n", "the table is empty"),
        ("SMILE,a\nCC,1\n", r"no column 'smiles'; did you mean 'SMILE'\? .*--smiles-col"),
        ("CCO\nCC\n", "no column 'smiles'; the columns are: 'CCO'"),
        ("smiles,a\nCC,1\n".encode("utf-16"), "save it as CSV in UTF-8"),
    ],
)
def test_a_file_without_the_column_is_refused(path, text, message):
    with pytest.raises(DataError, match=message):
        rows_of(path, text)


def test_a_missing_file_and_a_folder_are_refused(path, tmp_path):
    with (
        pytest.raises(DataError, match=r"in\.csv: there is no such file"),
        open_table(path, "smiles"),
    ):
        pass
    with pytest.raises(DataError, match="Is a directory"), open_table(tmp_path, "smiles"):
        pass


def test_the_share_that_was_read_grows_to_one(path):
    path.write_text("smiles\n" + "CC\n" * 20_000)
    with open_table(path, "smiles") as table:
        rows = iter(table)
        next(rows)
        early = table.share_read
        assert sum(1 for _ in rows) == 19_999
        assert 0 < early < 0.5 < table.share_read == 1.0
