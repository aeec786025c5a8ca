"""Sums of rows by lists, and their gradients, which are sums by the lists the other way round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function

__all__ = ["Lists", "add_products", "gathered", "spread", "summed"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """Lists of rows, one after the other.

    Attributes
    ----------
    rows : int64 array, shape (m,)
    counts : int64 array, shape (n,)
        How many of them each list has.
    """

    rows: Int64
    counts: Int64

    @classmethod
    def of(cls, places: Int64, n_places: int) -> Lists:
        """List the rows that belong to each place, given the place of each row."""
        counts = np.bincount(places, minlength=n_places)
        # Numpy sorts numbers of 16 bits by radix, in less than half the time.
        keys = places.astype(np.uint16) if n_places <= 2**16 else places
        return cls(np.argsort(keys, kind="stable"), counts)

    @property
    def begins(self) -> Int64:
        """Where each list begins, shape (n,)."""
        return self.counts.cumsum() - self.counts

    def chosen(self, some: Int64) -> Lists:
        """Return some of the lists; one may be chosen more than once."""
        counts = self.counts[some]
        shifts = self.begins[some] - (counts.cumsum() - counts)
        shifts = np.repeat(shifts, counts)
        return Lists(self.rows[np.arange(len(shifts)) + shifts], counts)

    def without(self, left_out: Int64) -> Lists:
        """Return the lists without one row of each, which is in it once."""
        kept = self.rows != np.repeat(left_out, self.counts)
        return Lists(self.rows[kept], self.counts - 1)

    def renamed(self, names: Int64) -> Lists:
        """Return the same lists of other rows: ``names[i]`` in place of ``i``."""
        return Lists(names[self.rows], self.counts)

    def turned(self, n_rows: int) -> Lists:
        """List for each row the lists that it is in, once for each time."""
        which = np.repeat(np.arange(len(self.counts)), self.counts)
        return Lists.of(self.rows, n_rows).renamed(which)

    def sums_of(self, values: Tensor) -> Tensor:
        """Add up the rows of each list, shape (n, d); an empty one gives zeros."""
        rows, begins = torch.from_numpy(self.rows), torch.from_numpy(self.begins)
        return torch.embedding_bag(values, rows, begins)[0]


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: Lists) -> Tensor:
        ctx.lists, ctx.n_rows = lists, len(values)
        return lists.sums_of(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.lists.turned(ctx.n_rows).sums_of(gradient.contiguous()), None


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, lists: Lists, of: Int64) -> Tensor:
        ctx.of = of
        return lists.sums_of(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient.index_select(0, torch.from_numpy(ctx.of)), None, None


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, of: Int64) -> Tensor:
        ctx.of, ctx.n_rows = of, len(values)
        return values.index_select(0, torch.from_numpy(of))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return Lists.of(ctx.of, ctx.n_rows).sums_of(gradient.contiguous()), None


class _AddProducts(Function):
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


summed: Callable[[Tensor, Lists], Tensor] = _Sum.apply
"""Add up rows by lists."""
gathered: Callable[[Tensor, Lists, Int64], Tensor] = _Gather.apply
"""Add up rows by lists of which each row is in one, which the last argument names."""
spread: Callable[[Tensor, Int64], Tensor] = _Spread.apply
"""Copy rows to several places: for each place there is the row that it gets."""
add_products: Callable[[Tensor, Tensor, Tensor], Tensor] = _AddProducts.apply
"""Add ``messages @ weight.T`` to the first rows of ``initial``, which has more."""
