"""Keep the graphs of all molecules in a few flat arrays, and cut batches out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from chemprop.data import BatchMolGraph, MolGraph
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.features.arrays import read_only

Int64 = NDArray[np.int64]

_ROWS_AT_ONCE = 16_384


class PackedGraphs:
    """Molecular graphs in flat arrays that many processes can share.

    The arrays are never written to, so they may lie in shared memory. How they are kept is
    private: use :meth:`pack` to make one and :meth:`batch` to read it.
    """

    def __init__(
        self,
        atoms: NDArray[np.float32],
        bonds: NDArray[np.float32],
        edge_index: NDArray[np.int32],
        rev_edge_index: NDArray[np.int32],
        of_atoms: _Spans,
        of_edges: _Spans,
    ) -> None:
        self._atoms = read_only(atoms)
        self._bonds = read_only(bonds)
        self._edge_index = read_only(edge_index)
        self._rev_edge_index = read_only(rev_edge_index)
        self._of_atoms = of_atoms
        self._of_edges = of_edges

    @classmethod
    def pack(cls, graphs: Iterable[MolGraph]) -> PackedGraphs:
        """Pack Chemprop's graphs, at least one; edges keep the numbers of their own molecule.

        Each is copied as it comes, so that they need not all be there at once.
        """
        atoms, bonds = _Growing(np.float32), _Growing(np.float32)
        starts, ends, reverse = _Growing(np.int32), _Growing(np.int32), _Growing(np.int32)
        n_atoms, n_edges = [], []
        for graph in graphs:
            atoms.add(graph.V)
            bonds.add(graph.E)
            starts.add(graph.edge_index[0])
            ends.add(graph.edge_index[1])
            reverse.add(graph.rev_edge_index)
            n_atoms.append(len(graph.V))
            n_edges.append(len(graph.E))
        return cls(
            atoms.whole(),
            bonds.whole(),
            np.stack([starts.whole(), ends.whole()]),
            reverse.whole(),
            _Spans.side_by_side(n_atoms),
            _Spans.side_by_side(n_edges),
        )

    def __len__(self) -> int:
        return len(self._of_atoms.starts)

    @property
    def dims(self) -> tuple[int, int]:
        """Width of an atom's and of a bond's features."""
        return self._atoms.shape[1], self._bonds.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes; what :meth:`take` made shares most of it."""
        flat = (self._atoms, self._bonds, self._edge_index, self._rev_edge_index)
        return sum(array.nbytes for array in (*flat, *self._of_atoms, *self._of_edges))

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of which atoms are bonded how in which molecule.

        Of features only which are zero: another machine may round the others differently.
        """
        digest = hashlib.sha256()
        for spans in (self._of_atoms, self._of_edges):
            digest.update(spans.offsets().data)
        for ends in self._edge_index:
            for some in self._of_edges.pieces():
                digest.update(ends[some].data)
        for features, spans in ((self._atoms, self._of_atoms), (self._bonds, self._of_edges)):
            for some in spans.pieces():
                digest.update(np.packbits(features[some] != 0).data)
        return digest.hexdigest()

    def take(self, rows: Int64) -> PackedGraphs:
        """Return the molecules at ``rows``, in that order, in the same memory as these."""
        return PackedGraphs(
            self._atoms,
            self._bonds,
            self._edge_index,
            self._rev_edge_index,
            self._of_atoms.take(rows),
            self._of_edges.take(rows),
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
        of_atoms, of_edges = self._of_atoms.take(rows), self._of_edges.take(rows)
        atoms, edges = of_atoms.positions(), of_edges.positions()
        shifts = of_atoms.offsets()[:-1]
        ends = np.take(self._edge_index, edges, axis=1) + np.repeat(shifts, of_edges.counts)
        shifts = of_edges.offsets()[:-1]
        reverse = np.take(self._rev_edge_index, edges) + np.repeat(shifts, of_edges.counts)
        return _batch_mol_graph(
            len(rows),
            V=np.take(self._atoms, atoms, axis=0),
            E=np.take(self._bonds, edges, axis=0),
            edge_index=ends,
            rev_edge_index=reverse,
            batch=np.repeat(np.arange(len(rows)), of_atoms.counts),
        )


class _Spans(NamedTuple):
    """Where the items of each molecule, atoms or edges, lie in a flat array."""

    starts: Int64
    counts: Int64

    @classmethod
    def side_by_side(cls, counts: list[int]) -> _Spans:
        ends = np.cumsum(counts, dtype=np.int64)
        return cls(read_only(ends - counts), read_only(np.array(counts, dtype=np.int64)))

    def take(self, rows: Int64) -> _Spans:
        return _Spans(read_only(self.starts[rows]), read_only(self.counts[rows]))

    def offsets(self) -> Int64:
        """Return where each molecule's items would begin side by side, and where the last end."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64, copy=False)

    def positions(self) -> Int64:
        """Return the positions of all items, molecule after molecule."""
        shifts = self.starts - self.offsets()[:-1]
        positions: Int64 = np.arange(self.counts.sum()) + np.repeat(shifts, self.counts)
        return positions

    def pieces(self) -> Iterator[Int64]:
        """Yield the positions of all items, some at a time: together they take much memory."""
        offsets = self.offsets()
        for first in range(0, int(offsets[-1]), _ROWS_AT_ONCE):
            begin = int(np.searchsorted(offsets, first, side="right")) - 1
            end = int(np.searchsorted(offsets, first + _ROWS_AT_ONCE))
            some = _Spans(self.starts[begin:end], self.counts[begin:end]).positions()
            yield some[first - offsets[begin] :][:_ROWS_AT_ONCE]


class _Growing:
    """Rows that are added to one array, without room for a second one."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = dtype
        self._array: NDArray[Any] | None = None
        self._length = 0

    def add(self, rows: NDArray[Any]) -> None:
        if self._array is None:
            self._array = np.empty((0, *rows.shape[1:]), self._dtype)
        end = self._length + len(rows)
        if end > len(self._array):
            self._resize(end + end // 4)
        self._array[self._length : end] = rows
        self._length = end

    def whole(self) -> NDArray[Any]:
        if self._array is None:
            raise ValueError("there is no graph to pack")
        self._resize(self._length)
        return self._array

    def _resize(self, length: int) -> None:
        assert self._array is not None
        # In place: what the system moves of a large array is its address, not its content.
        self._array.resize((length, *self._array.shape[1:]), refcheck=False)


def _batch_mol_graph(size: int, **arrays: NDArray[Any]) -> BatchMolGraph:
    # Chemprop's constructor takes one graph a molecule and joins them in a Python loop.
    graph = object.__new__(BatchMolGraph)
    for name, array in arrays.items():
        setattr(graph, name, torch.from_numpy(array))
    graph._BatchMolGraph__size = size
    return graph
