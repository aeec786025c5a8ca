"""Cut batches out of a fold, in an order that is a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from chemprop.data import TrainingBatch
from numpy.typing import NDArray
from torch import Tensor

from chemprop_hpo.configs.schema import ModelConfig
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.scaling import target_scaling

Int64 = NDArray[np.int64]


class Batches:
    """What one model reads of a fold, batch by batch, with standardised targets.

    Parameters
    ----------
    fold : Fold
        Only read.
    model : ModelConfig
        Says which graphs and which molecule features.
    """

    def __init__(self, fold: Fold, model: ModelConfig) -> None:
        self._graphs = fold.graphs[model.atom_features]
        self._vectors = [fold.vectors[name] for name in model.molecule_feature_names]
        self._targets = target_scaling(fold).standardise(fold.targets).astype(np.float32)

    def cut(self, rows: Int64) -> TrainingBatch:
        """Return Chemprop's batch of the molecules at ``rows``; every row weighs the same."""
        return TrainingBatch(
            self._graphs.batch(rows),
            None,
            self._cut_vectors(rows),
            torch.from_numpy(self._targets[rows]),
            torch.ones(len(rows), 1),
            None,
            None,
        )

    def _cut_vectors(self, rows: Int64) -> Tensor | None:
        if not self._vectors:
            return None
        return torch.from_numpy(np.hstack([vectors[rows] for vectors in self._vectors]))


class TrainingBatches:
    """An iterable over the training batches of the epoch that ``epoch`` names.

    Molecules without any label are left out: a batch of them has no loss.
    """

    def __init__(self, batches: Batches, fold: Fold, batch_size: int, seed: int) -> None:
        self.epoch = 0
        self._batches = batches
        self._rows = fold.train[np.isfinite(fold.targets[fold.train]).any(axis=1)]
        self._batch_size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        return len(_cuts(len(self._rows), self._batch_size)) + 1

    def __iter__(self) -> Iterator[TrainingBatch]:
        for rows in epoch_rows(self._rows, self._batch_size, self._seed, self.epoch):
            yield self._batches.cut(rows)


def epoch_rows(rows: Int64, batch_size: int, seed: int, epoch: int) -> list[Int64]:
    """Shuffle rows for an epoch and divide them into batches.

    A single molecule that would be left for the last batch goes into the one before, since
    batch normalisation cannot train on one molecule.
    """
    order = np.random.default_rng(entropy(seed, epoch)).permutation(rows)
    return np.split(order, _cuts(len(order), batch_size))


def entropy(seed: int, epoch: int) -> list[int]:
    """Return what random generators of an epoch are seeded from; seeds may be negative."""
    return [seed % 2**64, epoch]


def _cuts(n_rows: int, batch_size: int) -> list[int]:
    cuts = list(range(batch_size, n_rows, batch_size))
    return cuts[:-1] if cuts and n_rows - cuts[-1] == 1 and batch_size > 1 else cuts
