"""Keep the graphs of all molecules in a few flat arrays, and cut batches out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from chemprop.data import BatchMolGraph, MolGraph
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.arrays import read_only

Int64 = NDArray[np.int64]

_ROWS_AT_ONCE = 65_536


class PackedGraphs:
    """Molecular graphs, one after the other, in flat arrays that many processes can share.

    The arrays are never written to, so they may lie in shared memory. How they are kept is
    private: use :meth:`pack` to make one and :meth:`batch` to read it.
    """

    def __init__(
        self,
        atoms: NDArray[np.float32],
        bonds: NDArray[np.float32],
        edge_index: NDArray[np.int32],
        rev_edge_index: NDArray[np.int32],
        atom_offsets: Int64,
        edge_offsets: Int64,
    ) -> None:
        self._atoms = read_only(atoms)
        self._bonds = read_only(bonds)
        self._edge_index = read_only(edge_index)
        self._rev_edge_index = read_only(rev_edge_index)
        self._atom_offsets = read_only(atom_offsets)
        self._edge_offsets = read_only(edge_offsets)

    @classmethod
    def pack(cls, graphs: Sequence[MolGraph]) -> PackedGraphs:
        """Pack Chemprop's graphs, at least one; edges keep the numbers of their own molecule."""
        return cls(
            np.concatenate([g.V for g in graphs]).astype(np.float32, copy=False),
            np.concatenate([g.E for g in graphs], dtype=np.float32, casting="same_kind"),
            np.hstack([g.edge_index for g in graphs]).astype(np.int32),
            np.concatenate([g.rev_edge_index for g in graphs]).astype(np.int32),
            _offsets([len(g.V) for g in graphs]),
            _offsets([len(g.E) for g in graphs]),
        )

    def __len__(self) -> int:
        return len(self._atom_offsets) - 1

    @property
    def dims(self) -> tuple[int, int]:
        """Width of an atom's and of a bond's features."""
        return self._atoms.shape[1], self._bonds.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        return sum(array.nbytes for array in vars(self).values())

    def fingerprint(self) -> str:
        """Return a SHA-256 of which atoms are bonded how in which molecule.

        Of features only which are zero: another machine may round the others differently.
        """
        digest = hashlib.sha256()
        for array in (self._atom_offsets, self._edge_offsets, self._edge_index):
            digest.update(np.ascontiguousarray(array).data)
        for features in (self._atoms, self._bonds):
            for first in range(0, len(features), _ROWS_AT_ONCE):
                digest.update(np.packbits(features[first : first + _ROWS_AT_ONCE] != 0).data)
        return digest.hexdigest()

    def take(self, rows: Int64) -> PackedGraphs:
        """Return the molecules at ``rows``, in that order, packed in memory of their own."""
        atoms, atom_counts, _ = _cut(self._atom_offsets, rows)
        edges, edge_counts, _ = _cut(self._edge_offsets, rows)
        return PackedGraphs(
            np.take(self._atoms, atoms, axis=0),
            np.take(self._bonds, edges, axis=0),
            np.take(self._edge_index, edges, axis=1),
            np.take(self._rev_edge_index, edges),
            _offsets(atom_counts.tolist()),
            _offsets(edge_counts.tolist()),
        )

    def batch(self, rows: Int64) -> BatchMolGraph:
        """Cut out the molecules at ``rows``, in that order.

        Parameters
        ----------
        rows : int64 array, shape (n,)
            Positions of molecules; one may occur more than once.

        Returns
        -------
        BatchMolGraph
            Equal to ``chemprop.data.BatchMolGraph`` of the same molecules, in memory of its own.
        """
        atoms, atom_counts, atom_shift = _cut(self._atom_offsets, rows)
        edges, edge_counts, edge_shift = _cut(self._edge_offsets, rows)
        ends = np.take(self._edge_index, edges, axis=1) + np.repeat(atom_shift, edge_counts)
        reverse = np.take(self._rev_edge_index, edges) + np.repeat(edge_shift, edge_counts)
        return _batch_mol_graph(
            len(rows),
            V=np.take(self._atoms, atoms, axis=0),
            E=np.take(self._bonds, edges, axis=0),
            edge_index=ends,
            rev_edge_index=reverse,
            batch=np.repeat(np.arange(len(rows)), atom_counts),
        )


def _cut(offsets: Int64, rows: Int64) -> tuple[Int64, Int64, Int64]:
    """Return flat positions of the rows' items, their counts, and where each row's begin."""
    starts = offsets[rows]
    counts = offsets[rows + 1] - starts
    begins = np.cumsum(counts) - counts
    positions = np.arange(counts.sum()) + np.repeat(starts - begins, counts)
    return positions, counts, begins


def _batch_mol_graph(size: int, **arrays: NDArray[Any]) -> BatchMolGraph:
    # Chemprop's constructor takes one graph a molecule and joins them in a Python loop.
    graph = object.__new__(BatchMolGraph)
    for name, array in arrays.items():
        setattr(graph, name, torch.from_numpy(array))
    graph._BatchMolGraph__size = size
    return graph


def _offsets(counts: list[int]) -> Int64:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
