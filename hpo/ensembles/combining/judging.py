"""Hold predictions against labels: figures with intervals, and how often intervals held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.evaluation.bootstrap import Interval, bootstrapped, macro_interval
from chemprop_hpo.hpo.evaluation.calibration import Calibration, coverage
from chemprop_hpo.hpo.evaluation.figures import (
    classification_figures,
    regression_figures,
    relative_absolute_error,
    roc_auc,
)
from chemprop_hpo.hpo.evaluation.repeats import numbered
from chemprop_hpo.hpo.report.content import Coverage, FoldFigures, Judged

__all__ = ["Judge", "Predictions"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FEWEST_RESAMPLES, MOST_RESAMPLES = 200, 1000
ROWS_TO_DRAW = 1_000_000
"""About so many rows are drawn for one interval, within the two limits above."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What an ensemble says of some rows.

    Attributes
    ----------
    mean, std : float64 arrays, shape (n, t)
        In transformed units, or probabilities; NaN where it says nothing, or is alone.
    """

    mean: Float64
    std: Float64


@dataclass(frozen=True)
class Judge:
    """Judges predictions of one task, always by the same resamples of the molecules.

    Parameters
    ----------
    classification : bool
    transforms : tuple of Transform
        Of each target.
    seed : int
        Of the bootstrap.
    """

    classification: bool
    transforms: tuple[Transform, ...]
    seed: int

    def target(
        self,
        t: int,
        said: Predictions,
        labels: Float64,
        calibration: Calibration | None,
        similarity: Float64 | None = None,
        molecules: Sequence[str] | None = None,
        folds: Int64 | None = None,
    ) -> Judged | None:
        """Judge one target; None where no row has both a label and a prediction.

        Parameters
        ----------
        t : int
            Which of the targets.
        said : Predictions
        labels : array, shape (n, t)
            In transformed units, NaN where one is missing.
        calibration : Calibration or None
            None gives no intervals.
        similarity : array, shape (n,), optional
            To the nearest molecule that the models were trained on.
        molecules : sequence of str, optional
            The canonical SMILES of the rows; without them each row is a molecule of its own.
        folds : int array, shape (n,), optional
            The fold that left each row out.
        """
        mean, std, there = said.mean[:, t], said.std[:, t], labels[:, t]
        rows = np.isfinite(mean) & np.isfinite(there)
        if not rows.any():
            return None
        mean, std, there = mean[rows], std[rows], there[rows]
        widths = _half_widths(calibration, std)
        numbers = numbered(molecules, rows)
        original, transformed = self._both_units(t, mean, there, numbers)
        return Judged(
            labels=there,
            mean=mean,
            std=std,
            figures=original,
            transformed_figures=transformed,
            half_widths=widths,
            coverage={
                level: Coverage(*coverage(mean, there, width)) for level, width in widths.items()
            },
            similarity=None if similarity is None else similarity[rows],
            molecules=numbers,
            folds=None if folds is None else folds[rows],
        )

    def macro(
        self, said: Predictions, labels: Float64, molecules: Sequence[str] | None = None
    ) -> Interval | None:
        """Return the mean over targets of RAE (in transformed units), or of ROC-AUC.

        None for a single target, and where nothing is said.
        """
        if labels.shape[1] == 1 or not np.isfinite(said.mean).any():
            return None
        figure = roc_auc if self.classification else relative_absolute_error
        resamples = _resamples(len(labels))
        return macro_interval(
            figure, said.mean, labels, molecules=molecules, resamples=resamples, seed=self.seed
        )

    def by_fold(
        self, t: int, said: Predictions, labels: Float64, folds: Mapping[int, Int64]
    ) -> tuple[FoldFigures, ...]:
        """Return the figures of each fold's validation rows for one target.

        A fold is left out where nothing is said of its rows.

        Parameters
        ----------
        folds : mapping of int to int64 array, shape (n,)
            By split, the fold that validated on a row; -1 where none did.
        """
        found = []
        for split, numbers in folds.items():
            for fold in np.unique(numbers[numbers >= 0]):
                rows = (numbers == fold) & np.isfinite(said.mean[:, t])
                if not rows.any():
                    continue
                rows &= np.isfinite(labels[:, t])
                figures = self._plain(said.mean[rows, t], labels[rows, t])
                found.append(FoldFigures(split, int(fold), int(rows.sum()), figures))
        return tuple(found)

    # ------------------------------------------------------------------ figures

    def _both_units(
        self, t: int, mean: Float64, labels: Float64, numbers: Int64
    ) -> tuple[dict[str, Interval], dict[str, Interval] | None]:
        transform = self.transforms[t]
        if transform == "none":
            return self._figures(mean, labels, numbers), None
        said, there = (to_original_units(values, transform) for values in (mean, labels))
        return self._figures(said, there, numbers), self._figures(mean, labels, numbers)

    def _figures(
        self, predictions: Float64, labels: Float64, numbers: Int64
    ) -> dict[str, Interval]:
        resamples = _resamples(len(labels))
        return bootstrapped(
            self._plain,
            predictions,
            labels,
            molecules=numbers,
            resamples=resamples,
            seed=self.seed,
        )

    def _plain(self, predictions: Float64, labels: Float64) -> dict[str, float]:
        judge = classification_figures if self.classification else regression_figures
        return judge(predictions, labels)


def _resamples(n_rows: int) -> int:
    # The interval's own error falls with the draws; that of many rows is small in any case.
    return int(np.clip(ROWS_TO_DRAW // max(n_rows, 1), FEWEST_RESAMPLES, MOST_RESAMPLES))


def _half_widths(calibration: Calibration | None, std: Float64) -> dict[int, Float64]:
    if calibration is None:
        return {}
    return {level: calibration.half_width(std, level) for level in calibration.quantiles}
