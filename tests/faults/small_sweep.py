"""A sweep of tiny Chemprop models that ends within seconds, drawn from a random generator."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

__all__ = ["STUDY", "write_sweep"]

STUDY = "small"
HEADS = ["regression", "branched", "mixture_of_experts"]


def write_sweep(folder: Path, storage: str, draw: random.Random) -> dict[str, Any]:
    """Write ``small.yaml`` and its table into ``folder``; return the configuration."""
    config = _config(folder, storage, draw)
    (folder / "small.yaml").write_text(yaml.safe_dump(config))
    return config


def _config(folder: Path, storage: str, draw: random.Random) -> dict[str, Any]:
    epochs = draw.randint(6, 9)
    experts = "ffn_type == 'mixture_of_experts'"
    return {
        "data": {"file": str(_table(folder, 160)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "val_fraction": 0.2},
        "model": {"depth": 2, "message_hidden_dim": 16, "hidden_dim": 16},
        # Small batches: an epoch should take long enough to be killed in.
        "optimization": {"batch_size": 2, "max_epochs": epochs, "warmup_epochs": 1},
        "search_space": {
            "ffn_type": {"type": "choice", "choices": HEADS},
            "n_experts": {"type": "randint", "low": 2, "high": 3, "condition": experts},
            "max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        },
        "enqueue": [{"ffn_type": "branched"}, {"ffn_type": "mixture_of_experts"}],
        "num_samples": draw.randint(4, 6),
        "scheduler": {
            "max_t": epochs,
            "grace_period": 2,
            "reduction_factor": 2,
            "brackets": draw.choice([1, 1, 2]),
        },
        "sampler": {"type": "tpe", "n_startup_trials": 2},
        "resources": {"max_concurrent_trials": 2},
        "checkpoint_every_s": draw.choice([0, 0, 0.5, 2]),
        "study": {"name": STUDY, "storage": storage, "folder": str(folder / "study")},
        "mlflow": {"tracking": False},
        "transfer_learning": {"top_k": 2},
        "seed": draw.randint(0, 1000),
    }


def _table(folder: Path, rows: int) -> Path:
    """Write a table of alkanes and alcohols, and return its path."""
    path = folder / "molecules.csv"
    lines = [f"{'C' * (1 + i // 2)}{'O' * (i % 2)},{i * 0.1:.2f}" for i in range(rows)]
    path.write_text("smiles,y\n" + "\n".join(lines) + "\n")
    return path
