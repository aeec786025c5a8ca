"""Write predictions and figures as CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.models.checkpoints import write_atomically
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.ensembles.combining.candidates import COMBINED, SINGLE_BEST, Candidate
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import Judged, ReportContent

__all__ = ["figures_table", "out_of_fold_table", "test_table", "write_csv"]

Float64 = NDArray[np.float64]


def out_of_fold_table(
    config: SweepConfig, held_out: OutOfFold, candidates: Iterable[Candidate]
) -> pd.DataFrame:
    """Return a row for each training row, with what the models say that left it out.

    Columns are the SMILES, ``fold_split_<s>`` (which fold validated on the row in split s, empty
    where none did), each target's label, and ``<target>_mean`` and ``<target>_std`` of each rank
    and of the combination, with ``_rank_<i>`` behind it; all in original units.
    """
    columns: dict[str, object] = {config.data.smiles_col: held_out.rows.smiles}
    for split, folds in held_out.folds.items():
        numbers = pd.Series(folds, dtype="Int64")
        columns[f"fold_split_{split}"] = numbers.where(numbers >= 0)
    transforms = config.data.transforms
    said = {
        suffix: (one.out_of_fold.mean, one.out_of_fold_spread(held_out, transforms))
        for suffix, one in _by_suffix(candidates).items()
    }
    return _table(config, columns, held_out.rows.targets, said)


def test_table(
    config: SweepConfig, test: PredictedTestRows, candidates: Iterable[Candidate]
) -> pd.DataFrame:
    """Return a row for each test row, as `out_of_fold_table` does, with its similarity."""
    columns: dict[str, object] = {
        config.data.smiles_col: test.table.smiles,
        "row": test.table.rows,
        "similarity": test.similarity,
    }
    transforms = config.data.transforms
    said = {
        suffix: (one.say(test.outputs).mean, one.spread(test.outputs, transforms))
        for suffix, one in _by_suffix(candidates).items()
    }
    return _table(config, columns, test.table.targets, said)


def figures_table(content: ReportContent) -> pd.DataFrame:
    """Return each figure of each candidate with its 95 % interval, a row each.

    ``part`` is ``out_of_fold`` or ``test``, ``rows`` how many have both label and prediction,
    ``units`` is ``original`` or ``transformed``. ``coverage_<level>`` has neither units nor
    interval, and a macro average neither target nor rows.
    """
    rows: list[tuple[object, ...]] = []
    for one in content.ensembles:
        for target, judged in zip(content.targets, one.targets, strict=True):
            for part, of_part in (("out_of_fold", judged.out_of_fold), ("test", judged.test)):
                if of_part is not None:
                    rows += [
                        (one.name, target.name, part, of_part.n, *row) for row in _figures(of_part)
                    ]
        macro = "macro_rae" if content.task == "regression" else "macro_roc_auc"
        units = "transformed" if content.task == "regression" else "original"
        for part, interval in (("out_of_fold", one.macro_out_of_fold), ("test", one.macro_test)):
            if interval is not None:
                rows.append((one.name, "", part, None, units, macro, *_numbers(interval)))
    names = ("ensemble", "target", "part", "rows", "units", "figure", "value", "low_95", "high_95")
    table = pd.DataFrame(rows, columns=names)
    return table.astype({"rows": "Int64"})


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all; what stood there gives way."""
    write_atomically(path, table.to_csv(index=False, float_format="%.6g").encode())


# ----------------------------------------------------------------------------- columns


def _by_suffix(candidates: Iterable[Candidate]) -> dict[str, Candidate]:
    """Return the ensembles by what their columns end with; the combination's end with nothing."""
    return {
        "" if one.name == COMBINED else "_" + one.name.replace(" ", "_"): one
        for one in candidates
        if one.name != SINGLE_BEST
    }


def _table(
    config: SweepConfig,
    columns: Mapping[str, object],
    labels: Float64,
    said: Mapping[str, tuple[Float64, Float64]],
) -> pd.DataFrame:
    data = config.data
    # Not a mapping: a target may be called as another one's mean.
    named = list(columns.items())
    for t, (target, transform) in enumerate(zip(data.target_cols, data.transforms, strict=True)):
        named.append((target, to_original_units(labels[:, t], transform)))
        for suffix, (mean, std) in said.items():
            named.append((f"{target}_mean{suffix}", to_original_units(mean[:, t], transform)))
            named.append((f"{target}_std{suffix}", std[:, t]))
    table = pd.DataFrame(dict(enumerate(values for _, values in named)))
    return table.set_axis([name for name, _ in named], axis=1)


def _figures(judged: Judged) -> Iterable[tuple[object, ...]]:
    by_units = {"original": judged.figures, "transformed": judged.transformed_figures or {}}
    for units, figures in by_units.items():
        for name, interval in figures.items():
            yield units, name, *_numbers(interval)
    for level, share in judged.coverage.items():
        yield "", f"coverage_{level}", share.share, np.nan, np.nan


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
