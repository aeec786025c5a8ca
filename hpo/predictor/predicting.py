"""Predict molecules with all models of an ensemble, and say which cannot be predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rdkit.Chem import Mol
from rdkit.DataStructs import ExplicitBitVect

from chemprop_hpo.hpo.evaluation.calibration import Calibration
from chemprop_hpo.hpo.predictor.combining import combine
from chemprop_hpo.hpo.predictor.frames import column_names, prediction_frame
from chemprop_hpo.hpo.predictor.manifest import Manifest
from chemprop_hpo.hpo.predictor.panel import Panel, chunks
from chemprop_hpo.hpo.predictor.similarity import nearest_similarities

__all__ = ["Ensemble"]

Float64 = NDArray[np.float64]


class Ensemble:
    """Models that predict together; ``load_ensemble`` makes one.

    Attributes
    ----------
    folder : Path
        Where it was read from.
    manifest : Manifest
        Its targets, units and members, and where they come from.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        panel: Panel,
        calibrations: Sequence[Calibration | None],
        training: Sequence[ExplicitBitVect],
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._panel = panel
        self._calibrations = calibrations
        self._training = training
        self._weights = np.array([member.weights for member in manifest.members])

    def __repr__(self) -> str:
        targets = ", ".join(target.name for target in self.manifest.targets)
        return f"<Ensemble of {len(self)} models for {targets} in {self.folder}>"

    def __len__(self) -> int:
        return len(self._panel)

    @property
    def smiles_col(self) -> str:
        """The SMILES column of the training data."""
        return self.manifest.smiles_col

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`predict` gives after ``smiles``."""
        return column_names([t.name for t in self.manifest.targets], self.manifest.task)

    def predict(self, smiles: Iterable[str]) -> pd.DataFrame:
        """Predict molecules.

        Parameters
        ----------
        smiles : iterable of str
            One that is missing or cannot be read makes a row with a reason.

        Returns
        -------
        DataFrame
            A row for each SMILES, in their order:

            - ``smiles`` as given;
            - for each target, in original units, ``<t>_mean`` (for a classification the
              probability of class 1), ``<t>_std`` over the models (NaN of a single one), and for
              a regression its prediction intervals from ``<t>_low_80`` to ``<t>_high_80``, the
              same for 90 and 95 % (NaN where there was too little to calibrate on);
            - ``similarity``, Tanimoto to the nearest training molecule, and ``far``, whether
              that is below ``manifest.far_below``;
            - ``valid``, whether there is a prediction, and ``error``, why not.

        Raises
        ------
        UsageError
            If ``smiles`` is one text and not several.
        """
        parts = [self._frame(some) for some in chunks(smiles)]
        return pd.concat(parts, ignore_index=True) if parts else self._frame([])

    def member_outputs(self, smiles: Iterable[str]) -> Float64:
        """Return what each model says of molecules, before weights and inverse transforms.

        Returns
        -------
        float64 array, shape (m, n, t)
            In transformed units, or probabilities of a classification; the models in the order
            of ``manifest.members``. NaN where a SMILES cannot be read or predicted.

        Raises
        ------
        UsageError
            If ``smiles`` is one text and not several.
        """
        return self._panel.member_outputs(smiles)

    def _frame(self, smiles: Sequence[str]) -> pd.DataFrame:
        answer = self._panel.ask(smiles)
        transforms = [target.transform for target in self.manifest.targets]
        return prediction_frame(
            self.manifest,
            self._calibrations,
            smiles,
            combine(answer.outputs, self._weights, transforms),
            self._similarity(answer.molecules),
            answer.errors,
        )

    def _similarity(self, molecules: Sequence[Mol | None]) -> Float64:
        similarity = np.full(len(molecules), np.nan)
        known = [i for i, molecule in enumerate(molecules) if molecule is not None]
        near = nearest_similarities([mol for mol in molecules if mol is not None], self._training)
        similarity[known] = near
        return similarity
