"""What a reader of the figures is told, and warned of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate, candidates
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.hpo.ensembles.results.notes import earlier_looks, notes_on, warnings_on
from chemprop_hpo.storage.ensembles import EnsembleRecord
from chemprop_hpo.storage.member_records import MemberKey
from tests.hpo.ensembles.scenes import config_of, held_out, table

TEST = PredictedTestRows(
    table(["CN", "CCN"], path="folder/test.csv"), {}, np.zeros(2), datetime(2026, 1, 2, tzinfo=UTC)
)


def world(
    rows: int, *, silent: int = 0, labelled: int | None = None, ranks: int = 2
) -> list[Candidate]:
    labels = np.linspace(0.0, 1.0, rows)
    labels[rows if labelled is None else labelled :] = np.nan
    column = np.linspace(0.1, 0.9, rows)
    column[:silent] = np.nan
    columns = {(rank, 0): column + 0.01 * rank for rank in range(1, ranks + 1)}
    data = held_out(columns, labels, {0: [0] * rows})
    members = [(rank, 0, 0) for rank in range(1, ranks + 1)]
    return candidates(data, members, classification=False, seed=0)[0]


def test_notes_say_on_how_many_rows_the_figures_rest(tmp_path: Path) -> None:
    notes = list(notes_on(config_of(tmp_path), world(1200, silent=200), TEST))
    assert len(notes) == 3
    assert notes[0].startswith("Out-of-fold predictions of 1,000 training rows are by models")
    assert notes[1].startswith("2 test rows of test.csv were predicted after configurations")
    assert "calibrated on out-of-fold residuals" in notes[2]


def test_without_test_rows_it_is_said_how_to_have_some(tmp_path: Path) -> None:
    notes = list(notes_on(config_of(tmp_path), world(30), None))
    assert notes[1] == "There are no test rows: give data.test_file, or split.test_fraction."


def test_a_classification_has_no_intervals_to_speak_of(tmp_path: Path) -> None:
    config = config_of(tmp_path, task="classification")
    assert not any("interval" in note for note in notes_on(config, world(30), TEST))


def test_rows_that_nobody_left_out_are_counted(tmp_path: Path) -> None:
    warnings = list(warnings_on(config_of(tmp_path), world(100, silent=40), None))
    assert warnings == [
        "40 training rows of 100 have no out-of-fold prediction: no model of the chosen folds "
        "left them out."
    ]


def test_too_few_labelled_rows_for_an_interval_are_told(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert list(warnings_on(config, world(30, labelled=12), None)) == [
        "y: too few out-of-fold rows for intervals of 95 %."
    ]
    assert list(warnings_on(config, world(30, labelled=3), None)) == [
        "y: too few out-of-fold rows for intervals of 80 %, 90 %, 95 %."
    ]


def test_where_all_is_well_there_is_no_warning(tmp_path: Path) -> None:
    assert list(warnings_on(config_of(tmp_path), world(30), TEST)) == []


def test_where_one_model_speaks_of_each_row_its_spread_is_said_to_count_for_nothing(
    tmp_path: Path,
) -> None:
    assert any(
        "one width" in note for note in notes_on(config_of(tmp_path), world(30, ranks=1), TEST)
    )
    assert not any("one width" in note for note in notes_on(config_of(tmp_path), world(30), TEST))


def test_test_rows_without_a_prediction_are_counted(tmp_path: Path) -> None:
    outputs = {(1, 0, 0): np.array([[1.0], [np.nan]]), (2, 0, 0): np.array([[1.0], [2.0]])}
    lost = replace(TEST, outputs=outputs)
    assert list(warnings_on(config_of(tmp_path), world(30), lost)) == [
        "1 test row of 2 could not be predicted: no test figure speaks of them."
    ]


def keys(*trials: int, folds: tuple[int, ...] = (0, 1)) -> list[MemberKey]:
    return [MemberKey(trial, 0, fold, "cut") for trial in trials for fold in folds]


def made(*choices: list[MemberKey], part: str = "test") -> list[EnsembleRecord]:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    figures = {"combined": {"y/out_of_fold": {"rmse": 1.0}, f"y/{part}": {"rmse": 1.0}}}
    return [
        EnsembleRecord(
            i,
            moment,
            "out",
            {"keys": [list(key) for key in of_members], "figures": figures},
        )
        for i, of_members in enumerate(choices)
    ]


def test_it_is_said_how_often_test_rows_were_scored_with_other_configurations() -> None:
    before = made(keys(3, 5), keys(3), keys(3, 5), keys(3, 4), keys(3))
    (said,) = earlier_looks(before, keys(3, 5))
    assert "scored 2 times before" in said
    (said,) = earlier_looks(made(keys(3)), keys(3, 5))
    assert "scored once before" in said


def test_other_folds_of_the_same_configurations_are_another_look() -> None:
    (said,) = earlier_looks(made(keys(3, 5)), keys(3, 5, folds=(1, 2)))
    assert "scored once before, with other configurations or folds" in said


def test_the_same_command_once_more_is_no_other_look() -> None:
    assert list(earlier_looks(made(keys(3, 5), keys(5, 3)), keys(3, 5))) == []
    assert list(earlier_looks([], keys(3, 5))) == []


def test_ensembles_that_had_no_test_rows_were_no_look_at_them() -> None:
    assert list(earlier_looks(made(keys(3), part="out_of_fold"), keys(3, 5))) == []
