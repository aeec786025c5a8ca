"""Which rows of a batch are the same, so that what follows from them is computed once.

Rows and sets are told apart by codes of 64 bits, made of nothing but their content. Two different
ones among n have the same code about once in 2⁶⁵ / n² batches, with a thousand once in 10¹³.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Alike", "mixed"]

Codes = NDArray[np.uint64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Alike:
    """Items in groups of equal ones.

    Attributes
    ----------
    firsts : int64 array, shape (k,)
        One item of each group.
    group : int64 array, shape (n,)
        The group of each item.
    """

    firsts: Int64
    group: Int64

    @classmethod
    def by(cls, codes: NDArray[Any]) -> Alike:
        """Group items by whole numbers, which are equal for equal items."""
        _, firsts, group = np.unique(codes, return_index=True, return_inverse=True)
        return cls(firsts, group) if len(firsts) < len(codes) else cls.all_apart(len(codes))

    @classmethod
    def by_both(cls, one: Int64, other: Int64) -> Alike:
        """Group items that are equal in two ways, given their groups, shape (n,), in each."""
        return cls.by(one * (other.max(initial=0) + 1) + other)

    @classmethod
    def by_row(cls, rows: Tensor) -> Alike:
        """Group equal rows of a matrix of float32 on the CPU."""
        return cls.by(_codes_of_rows(rows))

    @classmethod
    def all_apart(cls, n: int) -> Alike:
        """Let each item be a group of its own, in their order."""
        return cls(np.arange(n), np.arange(n))

    @property
    def is_apart(self) -> bool:
        """Whether no two items are equal."""
        return len(self) == len(self.group)

    def __len__(self) -> int:
        return len(self.firsts)


def mixed(numbers: Int64) -> Codes:
    """Return a code of each number; the sum of some says which they were.

    The output of SplitMix64 (Steele et al. 2014) for these states.
    """
    codes = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    codes = (codes ^ (codes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    codes = (codes ^ (codes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return codes ^ (codes >> np.uint64(31))


def _codes_of_rows(rows: Tensor) -> Codes:
    """Return the sum of the bits of each number times a random one, modulo 2⁶⁴."""
    bits = rows.contiguous().numpy().view(np.uint32)
    # Round numbers end in zeros, which would be lost to the code: the exponent is laid over them.
    bits = bits ^ (bits >> np.uint32(23))
    return (bits * _factors(rows.shape[1])).sum(axis=1, dtype=np.uint64)


@cache
def _factors(n: int) -> Codes:
    return np.random.default_rng(0).integers(2**64, size=n, dtype=np.uint64)
