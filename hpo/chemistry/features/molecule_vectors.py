"""Describe whole molecules by vectors: fingerprints, descriptors, charge."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from chemprop.featurizers import MoleculeFeaturizerRegistry
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import MoleculeFeature

Float32 = NDArray[np.float32]


def molecule_vectors(
    molecules: Sequence[Mol], feature: MoleculeFeature, places: Sequence[str]
) -> Float32:
    """Compute one molecule feature as Chemprop defines it.

    Parameters
    ----------
    molecules : sequence of Mol
    feature : MoleculeFeature
    places : sequence of str
        Where each molecule comes from, for error messages.

    Returns
    -------
    float32 array, shape (n, d)
        Values that do not exist, or are too large for float32, are NaN or infinite:
        see :class:`Filling`.

    Raises
    ------
    DataError
        If the feature cannot be computed for a molecule.
    """
    with _unadvised():
        featurize = MoleculeFeaturizerRegistry[feature]()
    vectors = np.empty((len(molecules), len(featurize)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, molecule in enumerate(molecules):
            vectors[i] = _vector(featurize, molecule, feature, places[i])
    return vectors


@contextmanager
def _unadvised() -> Iterator[None]:
    """Keep back Chemprop's advice on scaling: it is for callers, not for who runs a sweep."""
    logger = logging.getLogger("chemprop.featurizers.molecule")
    logger.addFilter(_not_on_scaling)
    try:
        yield
    finally:
        logger.removeFilter(_not_on_scaling)


def _not_on_scaling(record: logging.LogRecord) -> bool:
    return "manually scaling" not in record.getMessage()


def _vector(featurize: Any, molecule: Mol, feature: str, place: str) -> NDArray[Any]:
    try:
        vector: NDArray[Any] = featurize(molecule)
    except Exception as error:  # descriptors are many, and each fails in its own way
        raise DataError(
            f"{place}: {feature} cannot be computed for this molecule ({error}); "
            "take the row out, or choose other molecule features"
        ) from error
    return vector


@dataclass(frozen=True, eq=False)
class Filling:
    """What stands in for descriptors that a molecule does not have.

    Some descriptors are undefined for some molecules (partial charges of metals) or overflow
    (``Ipc`` of large ones). Each such value becomes the mean over the training molecules that
    have it, and 0 where none has. Keep the filling with the model: a prediction needs the same.

    Attributes
    ----------
    means : float32 array, shape (d,)
    """

    means: Float32

    @classmethod
    def of(cls, training: Float32) -> Filling:
        """Take the means over the finite values of the training molecules."""
        finite = np.isfinite(training)
        sums = np.where(finite, training, 0).sum(axis=0, dtype=np.float64)
        return cls((sums / np.maximum(finite.sum(axis=0), 1)).astype(np.float32))

    def fill(self, vectors: Float32) -> Float32:
        """Return the vectors with every value finite: themselves where that is so."""
        finite = np.isfinite(vectors)
        return vectors if finite.all() else np.where(finite, vectors, self.means)
