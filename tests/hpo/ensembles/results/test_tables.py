"""Tables of predictions and figures: columns, units and values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate, candidates
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.hpo.ensembles.results import tables
from chemprop_hpo.hpo.ensembles.results.tables import figures_table, out_of_fold_table, write_csv
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from tests.hpo.ensembles.scenes import config_of, held_out, table
from tests.hpo.report.made_content import NINE, made_content, without_test

RNG = np.random.default_rng(3)
LABELS = RNG.uniform(0.5, 2.0, size=(30, 2))
LABELS[4, 1] = np.nan
FOLDS = {0: np.arange(30) % 2, 2: np.where(np.arange(30) < 20, np.arange(30) % 3, -1)}
COLUMNS = {(r, s): LABELS + RNG.normal(0, 0.2, LABELS.shape) for r in (1, 2) for s in (0, 2)}
for (_, split), column in COLUMNS.items():
    column[FOLDS[split] < 0] = np.nan
MEMBERS = [(r, s, f) for r in (1, 2) for s in (0, 2) for f in (0, 1)]
DATA = {"target_cols": ["logD", "KSOL"], "target_transforms": {"KSOL": "log10p1"}}


def named(folder: Path) -> tuple[SweepConfig, OutOfFold, list[Candidate]]:
    data = held_out(COLUMNS, LABELS, FOLDS)
    found, _ = candidates(data, MEMBERS, classification=False, seed=0)
    return config_of(folder, data=DATA), data, found


def test_out_of_fold_rows_hold_labels_and_predictions_in_original_units(tmp_path: Path) -> None:
    config, data, found = named(tmp_path)
    shown = out_of_fold_table(config, data, found)
    assert len(shown) == 30
    assert shown["smiles"].tolist() == list(data.rows.smiles)
    assert shown["logD"].tolist() == LABELS[:, 0].tolist()
    assert shown["KSOL"].tolist() == pytest.approx((10 ** LABELS[:, 1] - 1).tolist(), nan_ok=True)
    both = [COLUMNS[2, 0], COLUMNS[2, 2]]
    rank_2 = np.where(np.isnan(both[1]), both[0], np.mean(both, axis=0))
    assert shown["logD_mean_rank_2"].to_numpy() == pytest.approx(rank_2[:, 0])
    assert shown["KSOL_mean_rank_2"].to_numpy() == pytest.approx(
        10 ** rank_2[:, 1] - 1, nan_ok=True
    )
    combined = found[-1].out_of_fold
    assert shown["logD_mean"].tolist() == combined.mean[:, 0].tolist()
    assert shown["logD_std"].tolist() == pytest.approx(combined.std[:, 0].tolist(), nan_ok=True)


def test_out_of_fold_columns_stand_target_by_target(tmp_path: Path) -> None:
    config, data, found = named(tmp_path)
    columns = list(out_of_fold_table(config, data, found).columns)
    assert columns[:3] == ["smiles", "fold_split_0", "fold_split_2"]
    assert columns[3:10] == [
        "logD",
        "logD_mean_rank_1",
        "logD_std_rank_1",
        "logD_mean_rank_2",
        "logD_std_rank_2",
        "logD_mean",
        "logD_std",
    ]
    assert columns[10] == "KSOL"
    assert len(columns) == 17
    assert not any("single" in column for column in columns)


def test_spreads_are_in_original_units_too(tmp_path: Path) -> None:
    shown = out_of_fold_table(*named(tmp_path))
    both = 10 ** np.stack([COLUMNS[2, 0][:, 1], COLUMNS[2, 2][:, 1]]) - 1
    assert shown["KSOL_std_rank_2"].to_numpy() == pytest.approx(
        both.std(axis=0, ddof=1), nan_ok=True
    )


def test_targets_named_like_columns_of_others_keep_theirs(tmp_path: Path) -> None:
    _, data, found = named(tmp_path)
    config = config_of(tmp_path, data={"target_cols": ["x", "x_mean"]})
    shown = out_of_fold_table(config, data, found)
    assert list(shown.columns).count("x_mean") == 2
    assert len(shown.columns) == 17


def test_which_fold_left_a_row_out_is_empty_where_none_did(tmp_path: Path) -> None:
    path = tmp_path / "out_of_fold.csv"
    write_csv(out_of_fold_table(*named(tmp_path)), path)
    shown = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert shown["fold_split_0"].tolist() == [str(n) for n in FOLDS[0]]
    assert shown["fold_split_2"].tolist() == [str(n) if n >= 0 else "" for n in FOLDS[2]]
    assert shown["KSOL"][4] == ""


def test_test_rows_say_where_they_stand_and_how_similar_they_are(tmp_path: Path) -> None:
    config, _, found = named(tmp_path)
    rows = table(["CN", "CCN"], [[1.0, 1.0], [np.nan, 2.0]], path="test.csv", rows=[2, 7])
    outputs = {m: np.full((2, 2), float(m[0])) for m in MEMBERS}
    test = PredictedTestRows(rows, outputs, np.array([0.25, 1.0]), datetime.now(UTC))
    shown = tables.test_table(config, test, found)
    assert shown["row"].tolist() == [2, 7]
    assert shown["similarity"].tolist() == [0.25, 1.0]
    assert shown["logD"].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert shown["KSOL"].tolist() == pytest.approx([9.0, 99.0])
    assert shown["KSOL_mean_rank_1"].tolist() == pytest.approx([9.0, 9.0])
    assert shown["KSOL_mean_rank_2"].tolist() == pytest.approx([99.0, 99.0])
    assert shown["logD_mean"].tolist() == pytest.approx([1.5, 1.5], abs=0.5)


# ------------------------------------------------------------------ figures


def of(shown: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        shown = shown[shown[column] == value]
    return shown


def test_each_figure_of_each_candidate_has_a_row_with_its_interval() -> None:
    content = made_content(NINE[:2], ranks=2)
    shown = figures_table(content)
    assert list(shown.columns) == [
        "ensemble",
        "target",
        "part",
        "rows",
        "units",
        "figure",
        "value",
        "low_95",
        "high_95",
    ]
    assert shown["ensemble"].unique().tolist() == ["single best", "rank 1", "rank 2", "combined"]
    judged = content.ensembles[-1].targets[1].test
    assert judged is not None
    assert judged.transformed_figures is not None
    row = of(shown, ensemble="combined", target="KSOL", part="test", figure="rmse")
    assert row["units"].tolist() == ["original", "transformed"]
    for (_, line), expected in zip(
        row.iterrows(), (judged.figures["rmse"], judged.transformed_figures["rmse"]), strict=True
    ):
        assert (line["value"], line["low_95"], line["high_95"]) == (
            expected.value,
            expected.low,
            expected.high,
        )
    assert of(shown, target="LogD")["units"].unique().tolist() == ["original", ""]


def test_coverage_is_a_share_without_an_interval() -> None:
    content = made_content(NINE[:1])
    judged = content.ensembles[-1].targets[0].test
    assert judged is not None
    row = of(figures_table(content), ensemble="combined", part="test", figure="coverage_90")
    assert row["value"].tolist() == [judged.coverage[90].share]
    assert row[["low_95", "high_95"]].isna().all(axis=None)


def test_macro_averages_have_no_target() -> None:
    content = made_content(NINE[:2])
    planted = replace(content.ensembles[-1], macro_test=Interval(0.5, 0.4, 0.6))
    content = replace(content, ensembles=(*content.ensembles[:-1], planted))
    row = of(figures_table(content), ensemble="combined", part="test", figure="macro_rae")
    assert row[["value", "low_95", "high_95"]].to_numpy().tolist() == [[0.5, 0.4, 0.6]]
    assert (row["target"].tolist(), row["units"].tolist()) == ([""], ["transformed"])


def test_of_a_classification_the_macro_average_is_of_roc_auc() -> None:
    content = made_content(NINE[:2], task="classification")
    planted = replace(content.ensembles[-1], macro_out_of_fold=Interval(0.9, 0.8, 1.0))
    shown = figures_table(replace(content, ensembles=(planted,)))
    assert {"roc_auc", "prc_auc"} <= set(shown["figure"])
    row = of(shown, figure="macro_roc_auc", part="out_of_fold")
    assert row[["value", "units"]].to_numpy().tolist() == [[0.9, "original"]]


def test_without_test_rows_there_are_no_such_figures() -> None:
    shown = figures_table(without_test(made_content(NINE[:2])))
    assert shown["part"].unique().tolist() == ["out_of_fold"]


# ------------------------------------------------------------------ files


def test_a_table_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old\n")
    write_csv(pd.DataFrame({"a": [1 / 3, np.nan]}), path)
    assert path.read_text() == 'a\n0.333333\n""\n'
    assert [p.name for p in tmp_path.iterdir()] == ["figures.csv"]


def test_a_table_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old\n")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_csv(pd.DataFrame({"a": [1]}), path)
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["figures.csv"]
