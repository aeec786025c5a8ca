"""Out-of-fold predictions: of every row, by models that have not seen its molecule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold, out_of_fold, training_rows
from tests.hpo.ensembles.scenes import Place, config_of, cut, fold, table
from tests.hpo.scripted import table as written_table

WHOLE = table(["CCO", "C", "CC", "OCC", "CCC", "CCCC"])  # the first and the fourth are ethanol

Float64 = NDArray[np.float64]


def labels_as_outputs(
    folds: Mapping[Place, FoldTables], ranks: int = 1
) -> dict[tuple[int, int, int], Float64]:
    """Let each member say the label, plus a hundred a rank, a thousand a split."""
    return {
        (rank, *place): tables.validation.targets + 100 * rank + 1000 * place[0]
        for rank in range(1, ranks + 1)
        for place, tables in folds.items()
    }


def predicted(folds: Mapping[Place, FoldTables], ranks: int = 1) -> OutOfFold:
    return out_of_fold(training_rows([*folds.values()]), folds, labels_as_outputs(folds, ranks))


# ------------------------------------------------------------------ rows


def test_rows_stand_in_the_order_of_the_file() -> None:
    folds = {(0, 0): cut(WHOLE, [4, 1]), (0, 1): cut(WHOLE, [0, 2, 3, 5])}
    rows = training_rows([*folds.values()])
    assert rows.smiles == WHOLE.smiles
    assert rows.canonical == WHOLE.canonical
    assert rows.targets[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_two_files_stand_one_after_the_other() -> None:
    one = fold(table(["CC", "C"], path="train.csv"), table(["CCC"], [7], path="validation.csv"))
    assert training_rows([one]).smiles == ("CC", "C", "CCC")
    assert training_rows([one]).targets[:, 0].tolist() == [0, 1, 7]


def test_molecules_that_the_first_fold_lacks_come_after_it_once() -> None:
    first = fold(table(["CC"], path="a/train.csv"), table(["C"], path="a/validation.csv"))
    second = fold(
        table(["C", "CCC", "CCC"], [1, 2, 3], path="b/train.csv"),
        table(["CC", "CCCC"], path="b/validation.csv"),
    )
    rows = training_rows([first, second, second])
    assert rows.smiles == ("CC", "C", "CCC", "CCC", "CCCC")
    assert rows.targets[:, 0].tolist() == [0, 0, 2, 3, 1]


def test_the_test_rows_of_a_split_are_no_training_rows() -> None:
    whole = cut(WHOLE.take(np.arange(4)), [0, 3])
    with_test = fold(whole.train, whole.validation, WHOLE.take(np.arange(4, 6)))
    assert training_rows([with_test]).smiles == WHOLE.smiles[:4]


# ------------------------------------------------------------------ columns


def test_each_row_gets_what_the_member_that_left_it_out_says() -> None:
    folds = {
        (0, 0): cut(WHOLE, [0, 3, 4]),
        (0, 1): cut(WHOLE, [1, 2, 5]),
        (3, 0): cut(WHOLE, [1, 4]),
        (3, 1): cut(WHOLE, [0, 2, 3, 5]),
    }
    found = predicted(folds, ranks=2)
    assert found.units == ((1, 0), (1, 3), (2, 0), (2, 3))
    # Of molecules that stand twice, one prediction serves both rows.
    spoken = np.array([3, 1, 2, 3, 4, 5])
    for unit, column in zip(found.units, found.columns[:, :, 0], strict=True):
        assert column.tolist() == (spoken + 100 * unit[0] + 1000 * unit[1]).tolist()
    assert found.folds[0].tolist() == [0, 1, 1, 0, 0, 1]
    assert found.folds[3].tolist() == [1, 0, 1, 1, 0, 1]
    assert found.of_rank(2).tolist() == [2, 3]


def test_rows_of_a_fold_that_is_missing_have_no_prediction() -> None:
    folds = {(0, 1): cut(WHOLE, [0, 3])}
    found = predicted(folds)
    assert np.flatnonzero(~np.isnan(found.columns[0, :, 0])).tolist() == [0, 3]
    assert found.folds[0].tolist() == [1, -1, -1, 1, -1, -1]


def test_a_member_that_failed_leaves_its_own_rows_empty() -> None:
    folds = {(0, 0): cut(WHOLE, [0, 3]), (0, 1): cut(WHOLE, [1, 2, 4, 5])}
    outputs = labels_as_outputs(folds, ranks=2)
    del outputs[2, 0, 1]
    found = out_of_fold(training_rows([*folds.values()]), folds, outputs)
    assert not np.isnan(found.columns[0]).any()
    assert np.isnan(found.columns[1, :, 0]).tolist() == [False, True, True, False, True, True]
    assert found.folds[0].tolist() == [0, 1, 1, 0, 1, 1]


def test_a_molecule_that_was_trained_on_as_well_is_not_left_out() -> None:
    both = fold(
        table(["CCO", "C"], path="train.csv"),
        table(["OCC", "CC"], [5, 6], path="validation.csv"),
    )
    found = predicted({(0, 0): both})
    assert found.rows.smiles == ("CCO", "C", "OCC", "CC")
    assert np.isnan(found.columns[0, :, 0]).tolist() == [True, True, True, False]
    assert found.columns[0, 3, 0] == 106
    assert found.folds[0].tolist() == [-1, -1, -1, 0]


POOL = ["CCO", "OCC", "C", "CC", "C(C)C", "CCC", "CCCC", "C(O)C", "CN", "NC"]


@st.composite
def some_folds(draw: st.DrawFn) -> dict[Place, FoldTables]:
    """Cut rows, among them equal molecules, at random and regardless of what is equal."""
    whole = table(draw(st.lists(st.sampled_from(POOL), min_size=2, max_size=12)))
    places = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, unique=True)
    )
    positions = st.lists(st.integers(0, len(whole) - 1), min_size=1, unique=True)
    return {place: cut(whole, draw(positions)) for place in places}


@given(some_folds())
def test_no_row_is_predicted_by_a_model_that_has_seen_its_molecule(
    folds: dict[Place, FoldTables],
) -> None:
    rows = training_rows([*folds.values()])
    # Each member says who it is, so that a prediction can be traced to it.
    outputs = {
        (1, *place): np.full((len(tables.validation), 1), 10.0 * place[0] + place[1])
        for place, tables in folds.items()
    }
    found = out_of_fold(rows, folds, outputs)
    for unit, column in zip(found.units, found.columns[:, :, 0], strict=True):
        for name, said in zip(rows.canonical, column, strict=True):
            seen = [name in tables.train.canonical for tables in folds.values()]
            if np.isnan(said):
                of_split = [s for s, place in zip(seen, folds, strict=True) if place[0] == unit[1]]
                validated = [
                    name in tables.validation.canonical
                    for place, tables in folds.items()
                    if place[0] == unit[1]
                ]
                assert all(s or not v for s, v in zip(of_split, validated, strict=True))
                continue
            tables = folds[int(said) // 10, int(said) % 10]
            assert int(said) // 10 == unit[1]
            assert name in tables.validation.canonical
            assert name not in tables.train.canonical


@pytest.mark.parametrize("splits", [1, 3])
def test_the_folds_of_a_file_leave_each_row_out_once_a_split(tmp_path: Path, splits: int) -> None:
    written_table(tmp_path, rows=40)
    config = config_of(
        tmp_path,
        split={"method": "random", "test_fraction": 0.1, "n_folds": 4, "n_splits": splits},
    )
    folds = read_folds(config, fold_list(config))
    found = predicted(folds)
    test = next(iter(folds.values())).test
    assert test is not None
    assert set(found.rows.canonical).isdisjoint(test.canonical)
    assert len(found.rows) + len(test) == 40
    assert [row for _, row in found.units] == list(range(splits))
    for split, numbers in found.folds.items():
        assert set(numbers) == {0, 1, 2, 3}
        said = found.columns[split, :, 0] - 1000 * split - 100
        assert said == pytest.approx(found.rows.targets[:, 0])
