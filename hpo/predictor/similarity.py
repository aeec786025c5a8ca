"""How near a molecule is to those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect

__all__ = ["fingerprint", "nearest_similarities"]

RADIUS = 2
BITS = 2048


def fingerprint(molecule: Mol) -> ExplicitBitVect:
    """Return the Morgan fingerprint of radius 2 in 2,048 bits."""
    bits: ExplicitBitVect = _generator().GetFingerprint(molecule)
    return bits


def nearest_similarities(
    molecules: Sequence[Mol], training: Sequence[ExplicitBitVect]
) -> NDArray[np.float64]:
    """Return each molecule's Tanimoto similarity to the nearest of the training molecules.

    Returns
    -------
    float64 array, shape (n,)
        From 0 to 1; NaN where there is no training molecule.
    """
    if not training:
        return np.full(len(molecules), np.nan)
    nearest = (max(BulkTanimotoSimilarity(fingerprint(m), training)) for m in molecules)
    return np.fromiter(nearest, np.float64, len(molecules))


@cache
def _generator() -> Any:
    return GetMorganGenerator(radius=RADIUS, fpSize=BITS)
