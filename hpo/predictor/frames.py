"""Lay predictions out as a table that a chemist reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.evaluation.calibration import LEVELS, Calibration
from chemprop_hpo.hpo.predictor.combining import Combined
from chemprop_hpo.hpo.predictor.manifest import Manifest

__all__ = ["column_names", "prediction_frame"]

Float64 = NDArray[np.float64]


def column_names(targets: Sequence[str], task: str) -> tuple[str, ...]:
    """Return the columns of a prediction, but for the SMILES, in their order."""
    of_targets = (f"{target}_{part}" for target in targets for part in _parts(task))
    return (*of_targets, "similarity", "far", "valid", "error")


def prediction_frame(
    manifest: Manifest,
    calibrations: Sequence[Calibration | None],
    smiles: Sequence[Any],
    combined: Combined,
    similarity: Float64,
    errors: Sequence[str],
) -> pd.DataFrame:
    """Return a row for each SMILES; what is not known of one is NaN.

    Parameters
    ----------
    manifest : Manifest
    calibrations : sequence
        Of each target; None for no intervals.
    smiles : sequence
        As they were given.
    combined : Combined
        Of each SMILES, NaN where there is no prediction.
    similarity : float64 array, shape (n,)
    errors : sequence of str
        Empty where there is a prediction.
    """
    columns: dict[str, object] = {"smiles": pd.Series(list(smiles), dtype=object)}
    for i, calibration in enumerate(calibrations):
        of_target = _target_columns(manifest, i, calibration, combined)
        columns |= dict(zip(_names(manifest, i), of_target, strict=True))
    columns["similarity"] = similarity
    columns["far"] = _far(similarity, manifest.far_below)
    columns["valid"] = np.array([not error for error in errors], dtype=bool)
    columns["error"] = pd.Series(errors, dtype=object)
    return pd.DataFrame(columns)


def _parts(task: str) -> list[str]:
    ends = [f"{end}_{level}" for level in LEVELS for end in ("low", "high")]
    return ["mean", "std", *(ends if task == "regression" else [])]


def _names(manifest: Manifest, target: int) -> list[str]:
    return [f"{manifest.targets[target].name}_{part}" for part in _parts(manifest.task)]


def _target_columns(
    manifest: Manifest, i: int, calibration: Calibration | None, combined: Combined
) -> Iterator[Float64]:
    yield combined.original_mean[:, i]
    yield combined.original_std[:, i]
    if manifest.task == "classification":
        return
    mean, std = combined.mean[:, i], combined.std[:, i]
    for level in LEVELS:
        # On the models' own scale, where residuals were looked at; then the ends are undone.
        half = np.full(len(mean), np.nan)
        if calibration is not None:
            half = calibration.half_width(std, level)
        for end in (mean - half, mean + half):
            yield to_original_units(end, manifest.targets[i].transform)


def _far(similarity: Float64, far_below: float) -> pd.Series:
    known = np.isfinite(similarity)
    return pd.Series(similarity < far_below, dtype="boolean").where(known)
