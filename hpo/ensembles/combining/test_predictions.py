"""What the members say of the test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import load_model
from chemprop_hpo.hpo.chemistry.tables.data import Table
from chemprop_hpo.hpo.chemistry.tables.molecules import read_molecules
from chemprop_hpo.hpo.ensembles.combining.combination import MemberKey
from chemprop_hpo.hpo.ensembles.trained import Trained
from chemprop_hpo.hpo.predictor.member_models import MemberModel
from chemprop_hpo.hpo.predictor.panel import Panel
from chemprop_hpo.hpo.predictor.similarity import fingerprint, nearest_similarities

__all__ = ["PredictedTestRows", "predict_test_rows"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictedTestRows:
    """Test rows and what each member says of them.

    Attributes
    ----------
    table : Table
        The rows, n of them.
    outputs : mapping of MemberKey to float64 array, shape (n, t)
        In transformed units, or probabilities.
    similarity : float64 array, shape (n,)
        To the nearest molecule of the training set.
    at : datetime
        When they were predicted, in UTC.
    """

    table: Table
    outputs: Mapping[MemberKey, Float64]
    similarity: Float64
    at: datetime


def predict_test_rows(
    table: Table, trained: Sequence[Trained], training: Sequence[str]
) -> PredictedTestRows:
    """Let each member predict the test rows, in the way that a user's molecules are predicted.

    Parameters
    ----------
    table : Table
        The test rows.
    trained : sequence of Trained
    training : sequence of str
        SMILES of the molecules that they were trained on.
    """
    panel = Panel([_member_model(member) for member in trained])
    outputs = panel.member_outputs(table.smiles)
    known = read_molecules(training)
    return PredictedTestRows(
        table,
        dict(zip((member.key for member in trained), outputs, strict=True)),
        nearest_similarities(table.molecules, [fingerprint(m) for m in known if m is not None]),
        datetime.now(UTC),
    )


def _member_model(member: Trained) -> MemberModel:
    names = member.model.molecule_feature_names
    fillings = {name: member.fillings[name] for name in names}
    return MemberModel(quicken(load_model(member.file)), member.model.atom_features, fillings)
