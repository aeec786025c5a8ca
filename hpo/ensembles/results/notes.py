"""What a reader of the figures should know about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.problems import counted
from chemprop_hpo.hpo.ensembles.combining.candidates import COMBINED, Candidate
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows

__all__ = ["notes_on", "warnings_on"]


def notes_on(
    config: SweepConfig, held_out: OutOfFold, test: PredictedTestRows | None
) -> Iterator[str]:
    """Say on what the figures rest."""
    yield (
        f"Out-of-fold predictions of {counted(len(held_out.rows), 'training row')} are by "
        "models that were not trained on them. The configurations were chosen on validation "
        "rows among them, and each model's best epoch on its own, so that these figures "
        "flatter a little."
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


def warnings_on(
    config: SweepConfig, held_out: OutOfFold, found: Sequence[Candidate]
) -> Iterator[str]:
    """Say what may mislead."""
    combination = next(one for one in found if one.name == COMBINED)
    silent: NDArray[np.bool_] = np.asarray(np.isnan(combination.out_of_fold.mean).all(axis=1))
    if silent.any():
        yield (
            f"{counted(int(silent.sum()), 'training row')} of {len(silent):,} have no "
            "out-of-fold prediction: no model of the chosen folds left them out."
        )
    for target, calibration in zip(config.data.target_cols, combination.calibrations, strict=True):
        if calibration is not None and calibration.missing_levels:
            levels = ", ".join(f"{level} %" for level in calibration.missing_levels)
            yield f"{target}: too few out-of-fold rows for intervals of {levels}."
