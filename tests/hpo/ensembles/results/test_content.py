"""What the report is given of out-of-fold rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chemprop_hpo.hpo.ensembles.combining.candidates import candidates
from chemprop_hpo.hpo.ensembles.results.content import Findings, report_content
from chemprop_hpo.hpo.report.content import Judged, ReportContent
from tests.hpo.ensembles.scenes import config_of, held_out

FOLDS = np.arange(40) % 4


def content(folder: Path, splits: int = 1, **config: Any) -> ReportContent:
    labels = np.arange(40.0) if "task" not in config else np.arange(40.0) % 2
    labels[3] = np.nan
    columns = {(1, split): np.linspace(0.1, 0.9, 40) for split in range(splits)}
    data = held_out(columns, labels, {split: FOLDS.tolist() for split in range(splits)})
    members = [(1, split, fold) for split in range(splits) for fold in range(4)]
    classification = "task" in config
    found, weighting = candidates(data, members, classification=classification, seed=0)
    findings = Findings([], [], data, None, found, weighting, (), ())
    return report_content(config_of(folder, **config), "sqlite://", findings)


def combined(of: ReportContent) -> Judged:
    judged = of.ensembles[-1].targets[0].out_of_fold
    assert judged is not None
    return judged


def test_rows_out_of_fold_have_their_fold_and_their_similarity(tmp_path: Path) -> None:
    judged = combined(content(tmp_path))
    assert judged.folds is not None
    assert judged.similarity is not None
    assert judged.folds.tolist() == np.delete(FOLDS, 3).tolist()
    assert np.isfinite(judged.similarity).all()
    assert judged.similarity[0] < 1  # methane: all others are longer
    assert judged.similarity[-1] == 1  # long chains have the same fragments


def test_rows_that_several_splits_left_out_have_no_one_fold(tmp_path: Path) -> None:
    judged = combined(content(tmp_path, splits=2))
    assert judged.folds is None
    assert judged.similarity is not None


def test_a_classification_needs_no_similarity_out_of_fold(tmp_path: Path) -> None:
    judged = combined(content(tmp_path, task="classification"))
    assert judged.similarity is None
