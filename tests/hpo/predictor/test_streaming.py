from __future__ import annotations

import csv
import os
import tracemalloc

import numpy as np
import pandas as pd
import psutil
import pytest

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.hpo.predictor import load_ensemble
from chemprop_hpo.hpo.predictor.streaming import Counts, predict_file


class Lengths:
    """Predicts the length of a SMILES, and cannot predict those that begin with x."""

    smiles_col = "smiles"
    columns = ("y_mean", "far", "valid", "error")

    def predict(self, smiles):
        known = [text is not None and not text.startswith("x") for text in smiles]
        lengths = [len(s) if k else np.nan for s, k in zip(smiles, known, strict=True)]
        return pd.DataFrame(
            {
                "smiles": smiles,
                "y_mean": np.array(lengths) / 3,
                "far": pd.Series([len(str(s)) > 4 for s in smiles], dtype="boolean").where(known),
                "valid": known,
                "error": ["" if k else "bad" for k in known],
            }
        )


@pytest.fixture
def files(tmp_path):
    (tmp_path / "in.csv").write_text("id,smiles,y\n1,CCO,5\n2,x,6\n3,CCCCCC,\n4,CC,1,2\n5,C,0\n")
    return tmp_path / "in.csv", tmp_path / "out.csv"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def no_temporaries(folder):
    return not list(folder.glob(".*"))


@pytest.mark.parametrize("rows_at_once", [1, 2, 100])
def test_rows_and_columns_are_kept_and_predictions_added(files, rows_at_once):
    told = []
    counts = predict_file(Lengths(), *files, rows_at_once=rows_at_once, on_progress=told.append)
    header, *rows = rows_of(files[1])
    assert header == ["id", "smiles", "y", "y_mean", "far", "valid", "error"]
    assert rows[:3] == [
        ["1", "CCO", "5", "1", "False", "True", ""],
        ["2", "x", "6", "", "", "False", "bad"],
        ["3", "CCCCCC", "", "2", "True", "True", ""],
    ]
    assert rows[3][:6] == ["4", "CC", "1,2", "", "", "False"]
    assert rows[3][6].startswith("the row has 4 cells")
    assert rows[4] == ["5", "C", "0", "0.3333333", "False", "True", ""]
    assert counts == told[-1] == Counts(5, 2, 1, 1.0)
    assert [part.rows for part in told] == [*range(rows_at_once, 5, rows_at_once), 5]
    assert no_temporaries(files[0].parent)


def test_an_ensemble_predicts_a_file_as_it_predicts_a_list(two_targets, tmp_path):
    smiles = ["CCO", "nonsense", "", "ClCCCC", "CC(C)CO"]
    table = pd.DataFrame({"carbons": [1, 2, 3, 4, 5], "SMILES": smiles})
    table.to_csv(tmp_path / "in.csv", index=False)
    ensemble = load_ensemble(two_targets)
    counts = predict_file(
        ensemble, tmp_path / "in.csv", tmp_path / "out.csv", smiles_col="SMILES", rows_at_once=2
    )
    written = pd.read_csv(tmp_path / "out.csv", keep_default_na=True)
    expected = ensemble.predict(smiles)
    assert (counts.rows, counts.unreadable) == (5, 2)
    assert list(written.columns) == ["carbons", "SMILES", *ensemble.columns]
    assert written["error"].fillna("").tolist() == expected["error"].tolist()
    assert written["valid"].tolist() == expected["valid"].tolist()
    numbers = expected.columns[1:-3]
    np.testing.assert_allclose(written[numbers], expected[numbers], rtol=1e-5)


def test_an_output_that_exists_is_replaced_only_if_told_so(files):
    files[1].write_text("mine")
    with pytest.raises(UsageError, match=r"out\.csv: exists already; replace it with --force"):
        predict_file(Lengths(), *files)
    assert files[1].read_text() == "mine"
    predict_file(Lengths(), *files, force=True)
    assert len(rows_of(files[1])) == 6


def test_the_input_is_never_overwritten(files, tmp_path):
    (tmp_path / "link.csv").symlink_to(files[0])
    for output in (files[0], tmp_path / "link.csv"):
        with pytest.raises(UsageError, match="is the input itself"):
            predict_file(Lengths(), files[0], output, force=True)


def test_outputs_that_cannot_be_written_are_refused(files, tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        predict_file(Lengths(), files[0], tmp_path, force=True)
    with pytest.raises(UsageError, match="there is no folder"):
        predict_file(Lengths(), files[0], tmp_path / "none" / "out.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a device or a pipe"):
        predict_file(Lengths(), files[0], tmp_path / "pipe", force=True)
    assert (tmp_path / "pipe").is_fifo()


def test_the_file_behind_a_link_is_replaced(files, tmp_path):
    files[1].symlink_to(tmp_path / "elsewhere.csv")
    predict_file(Lengths(), *files)
    assert files[1].is_symlink()
    assert len(rows_of(tmp_path / "elsewhere.csv")) == 6


def test_columns_that_the_predictions_would_get_are_refused(files):
    files[0].write_text("smiles,y_mean,far\nCC,1,2\n")
    with pytest.raises(DataError, match=r"in\.csv: has the columns 'y_mean', 'far'"):
        predict_file(Lengths(), *files)
    assert not files[1].exists()


def test_of_many_such_columns_a_few_are_named(files):
    files[0].write_text("smiles,a_mean,b_mean,c_mean,d_mean,far,valid,error\nCC,1,2,3,4,5,6,7\n")
    ensemble = Lengths()
    ensemble.columns = ("a_mean", "b_mean", "c_mean", "d_mean", "far", "valid", "error")
    with pytest.raises(DataError, match="'d_mean', 'far' and 2 more, which the predictions"):
        predict_file(ensemble, *files)


def test_a_missing_column_leaves_nothing_behind(files):
    with pytest.raises(DataError, match="no column 'Smile'"):
        predict_file(Lengths(), *files, smiles_col="Smile")
    assert [path.name for path in files[0].parent.iterdir()] == ["in.csv"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ZeroDivisionError])
def test_an_end_half_way_leaves_the_old_output_and_no_temporary(files, fault):
    def stop(counts):
        raise fault

    files[1].write_text("mine")
    with pytest.raises(fault):
        predict_file(Lengths(), *files, force=True, rows_at_once=1, on_progress=stop)
    assert files[1].read_text() == "mine"
    assert no_temporaries(files[0].parent)


def test_a_full_disk_is_told_in_one_line(files, monkeypatch):
    from chemprop_hpo.hpo.predictor import streaming

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming.os, "fsync", full)
    with pytest.raises(UsageError, match=r"out\.csv: cannot be written \(No space left"):
        predict_file(Lengths(), *files)
    assert no_temporaries(files[0].parent)
    assert not files[1].exists()


def test_a_table_without_rows_gives_one_without_rows(files):
    files[0].write_text("smiles\n")
    assert predict_file(Lengths(), *files).rows == 0
    assert rows_of(files[1]) == [["smiles", "y_mean", "far", "valid", "error"]]


def test_odd_bytes_come_out_as_they_went_in(files):
    files[0].write_bytes(b"smiles,note\nCC,5 \xb5M\n")
    predict_file(Lengths(), *files)
    assert files[1].read_bytes().splitlines()[1].startswith(b"CC,5 \xb5M,")


def peak_of(folder, rows):
    """Return the most bytes that were held at once, by Python and numpy, and the output's size."""
    source, output = folder / f"{rows}.csv", folder / f"out_{rows}.csv"
    with source.open("w") as file:
        file.write("smiles,note\n")
        file.writelines(f"{'C' * (i % 50)},{i:0100d}\n" for i in range(rows))
    tracemalloc.start()
    try:
        assert predict_file(Lengths(), source, output).rows == rows
        return tracemalloc.get_traced_memory()[1], output.stat().st_size
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    few, _ = peak_of(tmp_path, 3_000)
    many, written = peak_of(tmp_path, 20_000)
    assert many < few + 0.05 * written


BROKEN = {
    1: ("xCC,a", "bad"),
    500_000: ('"CCO,b', "a quote in this row is not closed"),
    999_998: (
        "CC,c,one,two",
        "the row has 4 cells, the header has 2; put cells that contain commas in quotes",
    ),
}
"""By the number of the row: how it stands in the file, and what is told of it."""


def write_million(path):
    short = ["C" * n for n in range(1, 9)]
    with path.open("w") as file:
        file.write("smiles,note\n")
        for i in range(1_000_000):
            file.write(BROKEN[i][0] + "\n" if i in BROKEN else f"{short[i % 8]},{i}\n")


def test_three_broken_rows_of_a_million_are_told_and_cost_no_other_row_and_no_memory(tmp_path):
    source, output, held = tmp_path / "in.csv", tmp_path / "out.csv", []
    write_million(source)
    process = psutil.Process()
    counts = predict_file(
        Lengths(), source, output, on_progress=lambda _: held.append(process.memory_info().rss)
    )
    assert (counts.rows, counts.unreadable) == (1_000_000, 3)
    assert max(held) - held[10] < 30e6  # bytes; a million rows in memory are many times as many
    with output.open(newline="") as file:
        lines = csv.reader(file)
        next(lines)
        told = {i: row[2:] for i, row in enumerate(lines) if row[-1]}
    assert lines.line_num == 1_000_001
    assert told == {i: ["", "", "False", why] for i, (_, why) in BROKEN.items()}


def test_an_ensemble_keeps_nothing_of_molecules_that_it_has_predicted(two_targets, tmp_path):
    source, held, process = tmp_path / "in.csv", [], psutil.Process()
    chains = ["C" * (i % 40 + 1) + "O" * (i % 2) + "N" * (i // 80 % 3) for i in range(3_000)]
    source.write_text("smiles\n" + "\n".join(chains) + "\n")
    predict_file(
        load_ensemble(two_targets),
        source,
        tmp_path / "out.csv",
        rows_at_once=250,
        on_progress=lambda _: held.append(process.memory_info().rss),
    )
    assert len(held) == 12
    # Of 1,500 molecules: RDKit's objects would take 27 MB.
    assert held[-1] - held[5] < 4e6
