"""Small folds, small models, and somebody who watches them train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from rdkit import Chem

from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.features.featurising import Fold, featurise
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import molecule_vectors
from chemprop_hpo.hpo.chemistry.training.train import TrainingSpec

SMILES = [
    group + "C" * n + end
    for n in range(1, 9)
    for group in ("", "O", "N", "C(C)", "Cl")
    for end in ("", "O")
][:70]

SMALL = {"message_hidden_dim": 16, "hidden_dim": 16, "trunk_hidden_dim": 8, "depth": 2}


def make_fold(
    n_targets=1,
    *,
    task="regression",
    n_train=50,
    n_val=20,
    features=(),
    missing=(),
    **changes,
):
    """Make a fold of alkane-like molecules; the first target is the number of carbons."""
    molecules = [Chem.MolFromSmiles(s) for s in SMILES[: n_train + n_val]]
    order = np.random.default_rng(0).permutation(len(molecules))
    molecules = [molecules[i] for i in order]
    carbons = [sum(a.GetSymbol() == "C" for a in m.GetAtoms()) for m in molecules]
    atoms = [m.GetNumAtoms() for m in molecules]
    oxygens = [sum(a.GetSymbol() == "O" for a in m.GetAtoms()) for m in molecules]
    targets = np.array([carbons, oxygens, atoms], dtype=float).T[:, :n_targets]
    if task == "classification":
        targets = (targets > np.median(targets, axis=0)).astype(float)
    for row, target in missing:
        targets[row, target] = np.nan
    places = [str(i) for i in order]
    fields = {
        "graphs": {"V2": featurise(molecules, "V2")},
        "vectors": {f: _read_only(molecule_vectors(molecules, f, places)) for f in features},
        "targets": _read_only(targets),
        "train": _read_only(np.arange(n_train)),
        "validation": _read_only(np.arange(n_train, n_train + n_val)),
        "target_cols": ("carbons", "oxygens", "atoms")[:n_targets],
        "transforms": ("none",) * n_targets,
        "weights": (1.0,) * n_targets,
        "task": task,
    }
    return Fold(**fields | changes)


def make_spec(max_epochs=3, *, model=None, optimization=None, **changes):
    optimization = {"batch_size": 16, "warmup_epochs": 1} | (optimization or {})
    return TrainingSpec(
        ModelConfig.model_validate(SMALL | (model or {})),
        OptimizationConfig.model_validate(optimization),
        max_epochs,
        **{"seed": 7} | changes,
    )


def hard_fold(task="regression"):
    """Make a fold of three targets with gaps and weights, and a molecule feature."""
    gaps = [(1, 0), (2, 2), (3, 1), (4, 0), (4, 1), (4, 2), (60, 1)]
    weights = (0.5, 1.0, 1.5)
    return make_fold(3, task=task, features=("charge",), missing=gaps, weights=weights)


def hard_spec(head, max_epochs=6, *, mode="min", **optimization):
    """Ask for all that has a state or a random part.

    Dropout, running means of the batch norm, AdamW's moments with decay and clipping, a
    schedule in warm-up and in decay.
    """
    model = {"dropout": 0.3, "batch_norm": True, "molecule_features": "charge", "ffn_type": head}
    optimization = {
        "weight_decay": 0.01,
        "gradient_clip": 0.5,
        "warmup_epochs": 2,
        "max_lr": 0.02,
        "patience": 5,
    } | optimization
    return make_spec(max_epochs, model=model, optimization=optimization, mode=mode)


class Watcher:
    """Keep reports, and weights and checkpoints after each epoch."""

    def __init__(self, folder=None, stop_after=None):
        self.folder, self.stop_after = folder, stop_after
        self.reports, self.weights, self.best_weights, self.progress = [], {}, {}, None

    def __call__(self, report, progress):
        fitting = progress._fitting
        self.progress = progress
        self.reports.append(report)
        state = fitting.mpnn.state_dict()
        self.weights[report.epoch] = {k: v.clone() for k, v in state.items()}
        self.best_weights[report.epoch] = dict(fitting.best_weights)
        if self.folder is not None:
            progress.save_checkpoint(self.checkpoint(report.epoch))
        return report.epoch != self.stop_after

    def checkpoint(self, epoch):
        return self.folder / f"{epoch}.ckpt"


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def is_same(a, b):
    """Compare nested containers, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    return a == b


def without_time(report):
    return replace(report, seconds=0.0)


def _read_only(array):
    array.setflags(write=False)
    return array
