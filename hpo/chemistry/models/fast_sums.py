"""Sum over neighbours and atoms quickly, with Chemprop's own weights and layers.

Chemprop adds up rows with ``scatter_reduce_``, which needs an index for each number and takes
about half of a training epoch on a CPU. ``index_add`` and ``index_select`` need one for each
row, and each is the other's gradient. Messages between bonds on a CPU have a way of their own:
see `chemprop_hpo.hpo.chemistry.models.bond_messages`.
"""

from __future__ import annotations

import torch
from chemprop.data import BatchMolGraph
from chemprop.models import MPNN
from chemprop.nn import (
    AtomMessagePassing,
    BondMessagePassing,
    MeanAggregation,
    NormAggregation,
    SumAggregation,
)
from torch import Tensor

from chemprop_hpo.hpo.chemistry.models.alike import Alike
from chemprop_hpo.hpo.chemistry.models.bond_messages import drops_out, summed_messages
from chemprop_hpo.hpo.chemistry.models.dropout import dropped_out
from chemprop_hpo.hpo.chemistry.models.row_sums import spread

__all__ = ["quicken"]


def quicken(mpnn: MPNN) -> MPNN:
    """Let a model sum quickly from now on; its weights stay, and its predictions to about 1e-6.

    In training with dropout on a CPU, a seed drops other numbers than stock Chemprop does. A model
    that is to be stored should be left as it is: the file would name the classes here.

    Parameters
    ----------
    mpnn : MPNN
        As `build_model` or `load_model` gives it. Kinds of layers that are not known here are
        left alone.

    Returns
    -------
    MPNN
        The same object.
    """
    for layer in (mpnn.message_passing, mpnn.agg):
        layer.__class__ = _QUICK.get(type(layer), type(layer))
    return mpnn


def _sums(rows: Tensor, places: Tensor, n_places: int) -> Tensor:
    """Add up the rows, shape (m, d), that go to the same place; shape (n_places, d)."""
    return rows.new_zeros(n_places, rows.shape[1]).index_add(0, places, rows)


class _QuickMessages:
    def forward(self, bmg: BatchMolGraph, V_d: Tensor | None = None) -> Tensor:  # noqa: N803
        bmg = self.graph_transform(bmg)  # type: ignore[attr-defined]  # Chemprop's module
        H_0 = self.initialize(bmg)  # type: ignore[attr-defined]  # noqa: N806
        H = self.tau(H_0)  # type: ignore[attr-defined]  # noqa: N806
        for _ in range(1, self.depth):  # type: ignore[attr-defined]
            if self.undirected:  # type: ignore[attr-defined]
                H = (H + H.index_select(0, bmg.rev_edge_index)) / 2  # noqa: N806
            H = self.update(self.message(H, bmg), H_0)  # type: ignore[attr-defined]  # noqa: N806
        M = _sums(H, bmg.edge_index[1], len(bmg.V))  # noqa: N806
        out: Tensor = self.finalize(M, bmg.V, V_d)  # type: ignore[attr-defined]
        return out


class _QuickBondMessages(_QuickMessages, BondMessagePassing):
    def forward(self, bmg: BatchMolGraph, V_d: Tensor | None = None) -> Tensor:  # noqa: N803
        if self.undirected or V_d is not None or not _has_plain_features(bmg):
            return super().forward(bmg, V_d)
        bmg = self.graph_transform(bmg)
        elements = Alike.by_row(bmg.V)
        sums, atoms = summed_messages(self, bmg, elements)
        of_atoms, of_sums = self.W_o.weight.split([bmg.V.shape[1], sums.shape[1]], dim=1)
        features = bmg.V.index_select(0, torch.from_numpy(elements.firsts))
        own = torch.addmm(self.W_o.bias, features, of_atoms.T)
        own = spread(own, elements.group[atoms.firsts])
        states: Tensor = self.tau(torch.addmm(own, sums, of_sums.T))
        if drops_out(self):
            states = dropped_out(states, self.dropout.p)
        return states if atoms.is_apart else spread(states, atoms.group)

    def initialize(self, bmg: BatchMolGraph) -> Tensor:
        starts = bmg.V.index_select(0, bmg.edge_index[0])
        out: Tensor = self.W_i(torch.cat([starts, bmg.E], dim=1))
        return out

    def message(self, H: Tensor, bmg: BatchMolGraph) -> Tensor:  # noqa: N803
        sums = _sums(H, bmg.edge_index[1], len(bmg.V))
        arriving = sums.index_select(0, bmg.edge_index[0])
        return arriving - H.index_select(0, bmg.rev_edge_index)


def _has_plain_features(bmg: BatchMolGraph) -> bool:
    return all(
        features.device.type == "cpu"
        and features.dtype == torch.float32
        and not features.requires_grad
        for features in (bmg.V, bmg.E)
    )


class _QuickAtomMessages(_QuickMessages, AtomMessagePassing):
    def message(self, H: Tensor, bmg: BatchMolGraph) -> Tensor:  # noqa: N803
        sums = _sums(torch.cat((H, bmg.E), dim=1), bmg.edge_index[1], len(bmg.V))
        return sums.index_select(0, bmg.edge_index[0])


class _QuickSum(SumAggregation):
    def forward(self, H: Tensor, batch: Tensor) -> Tensor:  # noqa: N803
        return _sums(H, batch, int(batch.max()) + 1)


class _QuickNorm(_QuickSum, NormAggregation):
    def forward(self, H: Tensor, batch: Tensor) -> Tensor:  # noqa: N803
        return super().forward(H, batch) / self.norm


class _QuickMean(MeanAggregation):
    def forward(self, H: Tensor, batch: Tensor) -> Tensor:  # noqa: N803
        n_molecules = int(batch.max()) + 1
        counts = torch.bincount(batch, minlength=n_molecules).clamp(min=1)
        return _sums(H, batch, n_molecules) / counts.unsqueeze(1).to(H.dtype)


_QUICK: dict[type, type] = {
    BondMessagePassing: _QuickBondMessages,
    AtomMessagePassing: _QuickAtomMessages,
    SumAggregation: _QuickSum,
    NormAggregation: _QuickNorm,
    MeanAggregation: _QuickMean,
}
