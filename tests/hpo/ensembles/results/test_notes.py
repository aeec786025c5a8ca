"""What a reader of the figures is told, and warned of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate, candidates
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.hpo.ensembles.results.notes import notes_on, warnings_on
from tests.hpo.ensembles.scenes import config_of, held_out, table

TEST = PredictedTestRows(table(["CN", "CCN"], path="folder/test.csv"), {}, np.zeros(2))


def world(
    rows: int, *, silent: int = 0, labelled: int | None = None
) -> tuple[OutOfFold, list[Candidate]]:
    labels = np.linspace(0.0, 1.0, rows)
    labels[rows if labelled is None else labelled :] = np.nan
    column = np.linspace(0.1, 0.9, rows)
    column[:silent] = np.nan
    data = held_out({(1, 0): column}, labels, {0: [0] * rows})
    return data, candidates(data, [(1, 0, 0)], classification=False, seed=0)[0]


def test_notes_say_on_how_many_rows_the_figures_rest(tmp_path: Path) -> None:
    notes = list(notes_on(config_of(tmp_path), world(1200)[0], TEST))
    assert len(notes) == 3
    assert notes[0].startswith("Out-of-fold predictions of 1,200 training rows are by models")
    assert notes[1].startswith("2 test rows of test.csv were predicted after configurations")
    assert "calibrated on out-of-fold residuals" in notes[2]


def test_without_test_rows_it_is_said_how_to_have_some(tmp_path: Path) -> None:
    notes = list(notes_on(config_of(tmp_path), world(30)[0], None))
    assert notes[1] == "There are no test rows: give data.test_file, or split.test_fraction."


def test_a_classification_has_no_intervals_to_speak_of(tmp_path: Path) -> None:
    config = config_of(tmp_path, task="classification")
    assert not any("interval" in note for note in notes_on(config, world(30)[0], TEST))


def test_rows_that_nobody_left_out_are_counted(tmp_path: Path) -> None:
    warnings = list(warnings_on(config_of(tmp_path), *world(100, silent=40)))
    assert warnings == [
        "40 training rows of 100 have no out-of-fold prediction: no model of the chosen folds "
        "left them out."
    ]


def test_too_few_labelled_rows_for_an_interval_are_told(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert list(warnings_on(config, *world(30, labelled=12))) == [
        "y: too few out-of-fold rows for intervals of 95 %."
    ]
    assert list(warnings_on(config, *world(30, labelled=3))) == [
        "y: too few out-of-fold rows for intervals of 80 %, 90 %, 95 %."
    ]


def test_where_all_is_well_there_is_no_warning(tmp_path: Path) -> None:
    assert list(warnings_on(config_of(tmp_path), *world(30))) == []
