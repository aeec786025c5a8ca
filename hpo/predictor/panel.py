"""Ask several models at once, and say of which molecules they cannot speak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.predictor.features import Features, featurise_molecules
from chemprop_hpo.hpo.predictor.member_models import MemberModel, outputs_of
from chemprop_hpo.hpo.predictor.reading import ReadMolecule, read_smiles

__all__ = ["CHUNK", "Answer", "Panel"]

CHUNK = 256
"""Molecules that are featurised and predicted at once."""

NOT_FINITE = "the models' prediction is not a finite number"

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the models say of n SMILES.

    Attributes
    ----------
    outputs : float64 array, shape (m, n, t)
        Of each model, in transformed units or as probabilities; NaN without a prediction.
    molecules : list of Mol or None
        None where there is no prediction.
    errors : list of str
        Why there is none, or an empty text.
    """

    outputs: Float64
    molecules: list[Mol | None]
    errors: list[str]


class Panel:
    """Models that are asked together: each molecule is featurised once for all of them.

    Parameters
    ----------
    members : sequence of MemberModel
        At least one, all for the same targets and on one device.
    """

    def __init__(self, members: Sequence[MemberModel]) -> None:
        self._members = members
        self._n_targets = int(members[0].model.n_tasks)
        self._atom_features = {member.atom_features for member in members}
        self._molecule_features = {name for member in members for name in member.fillings}

    def __len__(self) -> int:
        return len(self._members)

    def member_outputs(self, smiles: Iterable[str]) -> Float64:
        """Return what each model says of molecules.

        Returns
        -------
        float64 array, shape (m, n, t)
            In transformed units, or probabilities of a classification; the models and the
            molecules in the order in which they were given. NaN where a SMILES cannot be read
            or predicted.

        Raises
        ------
        UsageError
            If ``smiles`` is one text and not several.
        """
        parts = [self.ask(some).outputs for some in chunks(smiles)]
        return np.concatenate(parts, axis=1) if parts else self._unknown(0)

    def ask(self, smiles: Sequence[object]) -> Answer:
        """Predict as many SMILES as are to be in memory at once; nothing raises."""
        read = read_smiles(smiles)
        errors = [one.error for one in read]
        features = self._features(read, errors)
        outputs = self._unknown(len(read))
        if sound := [i for i, error in enumerate(errors) if not error]:
            outputs[:, sound] = outputs_of(self._members, features)
            for i in _wild(outputs, sound):
                outputs[:, i] = np.nan
                errors[i] = NOT_FINITE
        known = zip(read, errors, strict=True)
        return Answer(outputs, [None if error else one.molecule for one, error in known], errors)

    def _features(self, read: Sequence[ReadMolecule], errors: list[str]) -> Features:
        """Featurise what was read, and note among the errors for which of it that fails."""
        readable = {i: mol for i, one in enumerate(read) if (mol := one.molecule) is not None}
        features = featurise_molecules(
            list(readable.values()), self._atom_features, self._molecule_features
        )
        for i, error in zip(readable, features.errors, strict=True):
            errors[i] = error
        return features

    def _unknown(self, rows: int) -> Float64:
        return np.full((len(self._members), rows, self._n_targets), np.nan)


def chunks(smiles: Iterable[str]) -> Iterator[list[str]]:
    """Cut SMILES into lists that are predicted at once.

    Raises
    ------
    UsageError
        If they are one text and not several.
    """
    if isinstance(smiles, str):
        raise UsageError("several SMILES are expected, not a text: write [smiles] for one")
    remaining = iter(smiles)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _wild(outputs: Float64, rows: Sequence[int]) -> list[int]:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=(0, 2)))
    return [i for i in rows if not finite[i]]
