"""What a reader of the figures should know about them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.problems import counted
from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.storage.ensembles import EnsembleRecord
from chemprop_hpo.storage.member_records import MemberKey

__all__ = ["earlier_looks", "notes_on", "warnings_on"]


def notes_on(
    config: SweepConfig, found: Sequence[Candidate], test: PredictedTestRows | None
) -> Iterator[str]:
    """Say on what the figures rest."""
    *_, combination = found
    spoken_of = int(np.isfinite(combination.out_of_fold.mean).any(axis=1).sum())
    yield (
        f"Out-of-fold predictions of {counted(spoken_of, 'training row')} are by "
        "models that were not trained on them, with weights that were found without them. The "
        "configurations were chosen on validation rows among them, and each model's best epoch "
        "on its own, so that these figures flatter a little."
    )
    if test is None:
        yield "There are no test rows: give data.test_file, or split.test_fraction."
    else:
        yield (
            f"{counted(len(test.table), 'test row')} of {test.table.path.name} were predicted "
            "after configurations, members and weights had been fixed."
        )
    if config.task == "regression":
        yield (
            "Prediction intervals are calibrated on out-of-fold residuals. They hold for "
            "molecules like those of the training set; look at the similarity."
        )
    if config.task == "regression" and np.isnan(combination.out_of_fold.std).all():
        yield (
            "Out of fold one model speaks of each row, so that spread could not be held against "
            "errors: the intervals have one width for all molecules. More configurations or "
            "splits would let the spread count."
        )


def warnings_on(
    config: SweepConfig, found: Sequence[Candidate], test: PredictedTestRows | None
) -> Iterator[str]:
    """Say what may mislead."""
    *_, combination = found
    silent: NDArray[np.bool_] = np.asarray(np.isnan(combination.out_of_fold.mean).all(axis=1))
    if silent.any():
        yield (
            f"{counted(int(silent.sum()), 'training row')} of {len(silent):,} have no "
            "out-of-fold prediction: no model of the chosen folds left them out."
        )
    if test is not None and (lost := _unpredicted(test)):
        yield (
            f"{counted(lost, 'test row')} of {len(test.table):,} could not be predicted: no test "
            "figure speaks of them."
        )
    for target, calibration in zip(config.data.target_cols, combination.calibrations, strict=True):
        if calibration is not None and calibration.missing_levels:
            levels = ", ".join(f"{level} %" for level in calibration.missing_levels)
            yield f"{target}: too few out-of-fold rows for intervals of {levels}."


def earlier_looks(made: Sequence[EnsembleRecord], keys: Collection[MemberKey]) -> Iterator[str]:
    """Say that test rows were looked at before, by other models.

    Parameters
    ----------
    made : sequence of EnsembleRecord
        Earlier ensembles of the study.
    keys : collection of MemberKey
        Of this one's members.
    """
    scored = [record.record for record in made if _has_test(record.record)]
    before = {frozenset(MemberKey(*key) for key in record["keys"]) for record in scored}
    others = len(before - {frozenset(keys)})
    if others:
        times = "once" if others == 1 else f"{others} times"
        yield (
            f"Test rows of this study were scored {times} before, with other configurations or "
            "folds: whoever chooses among them by test figures will see those figures flatter."
        )


def _has_test(record: Mapping[str, Any]) -> bool:
    of_candidates = record.get("figures", {}).values()
    return any(part.endswith("/test") for figures in of_candidates for part in figures)


def _unpredicted(test: PredictedTestRows) -> int:
    """Return of how many test rows some member says nothing."""
    silent = [np.isnan(outputs).any(axis=1) for outputs in test.outputs.values()]
    return int(np.any(silent, axis=0).sum()) if silent else 0
