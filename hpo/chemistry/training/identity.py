"""Know a training again by settings and data, so that no other one's checkpoint is continued."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.training.epochs import TrainingSpec


def identity_of(spec: TrainingSpec, fold: Fold) -> dict[str, Any]:
    """Return, JSON-able, what must be the same for a checkpoint to be continued."""
    ignored = {"num_workers", "progress_bar"}
    return {
        "model": spec.model.model_dump(mode="json"),
        "optimization": spec.optimization.model_dump(mode="json", exclude=ignored),
        "max_epochs": spec.max_epochs,
        "seed": spec.seed,
        "metric": [spec.metric, spec.mode, spec.yardstick],
        "task": fold.task,
        "targets": list(fold.target_cols),
        "target_weights": list(fold.weights),
        # In float32: another machine may round a transform's last bits differently.
        "labels": _sha256(fold.targets.astype(np.float32)),
        "molecules": fold.graphs[spec.model.atom_features].fingerprint,
        "split": _sha256(fold.train, fold.validation),
    }


def differences(theirs: Any, ours: Mapping[str, Any], within: str = "") -> list[str]:
    """Name the settings that are not the same, ``model.dropout`` for one inside another."""
    stored = theirs if isinstance(theirs, Mapping) else {}
    names: list[str] = []
    for key, value in ours.items():
        if isinstance(value, Mapping):
            names += differences(stored.get(key), value, f"{within}{key}.")
        elif key not in stored or stored[key] != value:
            names.append(f"{within}{key}")
    return names


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
