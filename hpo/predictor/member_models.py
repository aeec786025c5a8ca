"""Ask models for their outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from chemprop.data import BatchMolGraph
from chemprop.models import MPNN
from numpy.typing import NDArray
from torch import Tensor

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
from chemprop_hpo.hpo.predictor.features import Features

__all__ = ["MemberModel", "outputs_of"]


@dataclass(frozen=True, eq=False)
class MemberModel:
    """A model, ready to predict on its device.

    Attributes
    ----------
    model : MPNN
    atom_features : AtomFeatures
        What its graphs are made with.
    fillings : mapping
        What stands in for undefined values of its molecule features, in the order in which
        the model takes these.
    """

    model: MPNN
    atom_features: AtomFeatures
    fillings: Mapping[MoleculeFeature, Filling]

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        device: torch.device = next(self.model.parameters()).device
        return device


def outputs_of(members: Sequence[MemberModel], features: Features) -> NDArray[np.float64]:
    """Return what each model says of the molecules, in one batch a model.

    Returns
    -------
    float64 array, shape (m, n, t)
        In transformed units, or probabilities of a classification.
    """
    device = members[0].device
    graphs = {name: _batch(packed, device) for name, packed in features.graphs.items()}
    with torch.inference_mode():
        return np.stack([_outputs(member, graphs, features) for member in members])


def _batch(packed: PackedGraphs, device: torch.device) -> BatchMolGraph:
    batch = packed.batch(np.arange(len(packed)))
    batch.to(device)
    return batch


def _outputs(
    member: MemberModel, graphs: Mapping[AtomFeatures, BatchMolGraph], features: Features
) -> NDArray[np.float64]:
    graph = graphs[member.atom_features]
    # A whole model, as Chemprop itself predicts: outputs unscaled, the sigmoid applied.
    outputs: Tensor = member.model(graph, None, _vectors(member, features))
    values: NDArray[np.float64] = outputs.double().cpu().numpy()
    return values


def _vectors(member: MemberModel, features: Features) -> Tensor | None:
    if not member.fillings:
        return None
    filled = [filling.fill(features.vectors[name]) for name, filling in member.fillings.items()]
    return torch.from_numpy(np.hstack(filled)).to(member.device)
