"""Messages between directed bonds, with no more arithmetic than they need.

The message to a bond from v to w is the sum of what came in over the other bonds of v. Chemprop
adds up everything that comes to v, and takes away what came from w; here the others are listed
once for a batch and added up directly. A bond that leaves a terminal atom gets no message at
all, and is spared the matrix product: of those of ESOL one in eight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from chemprop.data import BatchMolGraph
from chemprop.nn import BondMessagePassing
from torch import Tensor
from torch.autograd import Function

__all__ = ["summed_messages"]


def summed_messages(layer: BondMessagePassing, bmg: BatchMolGraph) -> Tensor:
    """Pass messages along the bonds of a batch, and add them up at the atoms.

    Equal to what stock Chemprop hands to ``finalize``, but for the order of additions.

    Parameters
    ----------
    layer : BondMessagePassing
        Directed.
    bmg : BatchMolGraph
        Of molecules whose bonds have both directions, on a CPU.

    Returns
    -------
    Tensor, shape (n_atoms, d_h)
    """
    bonds = _Bonds.of(bmg)
    atoms, kinds = layer.W_i.weight.split([bmg.V.shape[1], bmg.E.shape[1]], dim=1)
    from_atoms = _spread(bmg.V @ atoms.T, bonds.starts, bonds.leaving)
    initial = torch.addmm(from_atoms, bmg.E.index_select(0, bonds.order), kinds.T)
    del from_atoms  # as below: each of these is a large part of the memory of an evaluation
    if layer.W_i.bias is not None:
        initial = initial + layer.W_i.bias
    hidden = layer.tau(initial)
    for _ in range(1, layer.depth):
        messages = _sum(hidden, bonds.others, bonds.onwards)
        del hidden
        updated = _update(initial, messages, layer.W_h.weight)
        del messages
        if layer.W_h.bias is not None:
            updated = updated + layer.W_h.bias
        hidden = _dropped_out(layer, layer.tau(updated), bonds.order)
        del updated
    return _gather(hidden, bonds.arriving, bonds.ends)


def _dropped_out(layer: BondMessagePassing, hidden: Tensor, order: Tensor) -> Tensor:
    """Drop what stock Chemprop would, given the same random numbers: its bonds stand otherwise."""
    if not layer.training or not layer.dropout.p:
        return hidden
    return hidden * layer.dropout(torch.ones_like(hidden)).index_select(0, order)


@dataclass(frozen=True)
class _Lists:
    """Lists of rows, one after the other.

    Attributes
    ----------
    rows : Tensor, shape (m,)
    begins : Tensor, shape (n,)
        Where each list begins; it ends where the next one does.
    """

    rows: Tensor
    begins: Tensor

    def sums_of(self, values: Tensor) -> Tensor:
        """Add up the rows of each list, shape (n, d); an empty one gives zeros."""
        return torch.embedding_bag(values, self.rows, self.begins)[0]


@dataclass(frozen=True)
class _Bonds:
    """The directed bonds of a batch; those that leave a terminal atom come last.

    Attributes
    ----------
    order : Tensor, shape (n_bonds,)
        Which bond of the batch each of these is.
    starts, ends : Tensor, shape (n_bonds,)
        Their atoms.
    leaving, arriving : _Lists
        The bonds of each atom.
    others : _Lists
        For each bond that gets a message: the bonds that it comes from.
    onwards : _Lists
        For each bond: those that it is a message to.
    """

    order: Tensor
    starts: Tensor
    ends: Tensor
    leaving: _Lists
    arriving: _Lists
    others: _Lists
    onwards: _Lists

    @classmethod
    def of(cls, bmg: BatchMolGraph) -> _Bonds:
        n_atoms, (starts, ends) = len(bmg.V), bmg.edge_index
        n_arriving = torch.bincount(ends, minlength=n_atoms)
        is_terminal = n_arriving.index_select(0, starts) <= 1
        order = torch.argsort(is_terminal.to(torch.uint8), stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        starts, ends = starts[order], ends[order]
        back = place[bmg.rev_edge_index[order]]
        leaving, arriving = _by_atom(starts, n_atoms), _by_atom(ends, n_atoms)
        n_inner = int((~is_terminal).sum())
        return cls(
            order,
            starts,
            ends,
            leaving,
            arriving,
            others=_without(arriving, starts[:n_inner], back[:n_inner]),
            onwards=_without(leaving, ends, back),
        )


def _by_atom(atoms: Tensor, n_atoms: int) -> _Lists:
    """List the bonds of each atom, given the atom of each bond."""
    counts = torch.bincount(atoms, minlength=n_atoms)
    return _Lists(torch.argsort(atoms, stable=True), counts.cumsum(0) - counts)


def _without(bonds: _Lists, atoms: Tensor, left_out: Tensor) -> _Lists:
    """List for each of ``atoms`` its bonds but one, which is among them."""
    ends = torch.cat([bonds.begins[1:], bonds.begins.new_tensor([len(bonds.rows)])])
    counts = (ends - bonds.begins).index_select(0, atoms)
    which = torch.repeat_interleave(counts)
    shift = bonds.begins.index_select(0, atoms) - (counts.cumsum(0) - counts)
    rows = bonds.rows[torch.arange(len(which)) + shift[which]]
    kept = rows != left_out[which]
    counts = counts - 1
    return _Lists(rows[kept], counts.cumsum(0) - counts)


# ----------------------------------------------------------------------------- with gradients


class _Sum(Function):
    """Add up rows by lists; ``back`` has for each row the lists that it is in."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: _Lists, back: _Lists) -> Tensor:
        ctx.back = back
        return lists.sums_of(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.back.sums_of(gradient.contiguous()), None, None


class _Gather(Function):
    """Add up rows by lists of which each row is in one, ``of``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: _Lists, of: Tensor) -> Tensor:
        ctx.save_for_backward(of)
        return lists.sums_of(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (of,) = ctx.saved_tensors
        return gradient.index_select(0, of), None, None


class _Spread(Function):
    """Copy rows to several places; ``lists`` says to which."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, of: Tensor, lists: _Lists) -> Tensor:
        ctx.lists = lists
        return values.index_select(0, of)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.lists.sums_of(gradient.contiguous()), None, None


class _Update(Function):
    """Add ``messages @ weight.T`` to the first rows of ``initial``, which has more."""

    @staticmethod
    def forward(ctx: Any, initial: Tensor, messages: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(messages, weight)
        updated = initial.clone()
        updated[: len(messages)].addmm_(messages, weight.T)
        return updated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        messages, weight = ctx.saved_tensors
        inner = gradient[: len(messages)]
        return gradient, inner @ weight, inner.T @ messages


_sum: Callable[[Tensor, _Lists, _Lists], Tensor] = _Sum.apply
_gather: Callable[[Tensor, _Lists, Tensor], Tensor] = _Gather.apply
_spread: Callable[[Tensor, Tensor, _Lists], Tensor] = _Spread.apply
_update: Callable[[Tensor, Tensor, Tensor], Tensor] = _Update.apply
