"""Two drivers that start one study at the same moment, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.drivers import all_drivers
from tests.hpo.scripted import table

TOTAL = 8


def write_sweep(folder: Path, url: str) -> Path:
    config: dict[str, Any] = {
        "data": {"file": str(table(folder, 60)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "val_fraction": 0.2},
        "model": {"depth": 2, "message_hidden_dim": 16, "hidden_dim": 16},
        "optimization": {"batch_size": 8, "max_epochs": 100, "warmup_epochs": 1},
        "search_space": {"max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}},
        "scheduler": {"type": "none", "max_t": 100},
        "num_samples": TOTAL,
        "resources": {"max_concurrent_trials": 1},
        "study": {"name": "both", "storage": url, "folder": str(folder / "study")},
        "mlflow": {"tracking": False},
    }
    path = folder / "both.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def start(folder: Path, file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chemprop_hpo", "sweep", str(file)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)},
    )


@pytest.mark.timeout(600)
def test_two_drivers_share_a_study_exactly(tmp_path: Path, database_url: str) -> None:
    file = write_sweep(tmp_path, database_url)
    processes = [start(tmp_path, file) for _ in range(2)]
    outputs = [process.communicate(timeout=500)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    with open_database(database_url) as db:
        study = optuna.load_study(study_name="both", storage=db.storage)
        trials = study.trials
        drivers = set(all_drivers(db, study))
    assert sorted(t.user_attrs["slot"] for t in trials) == list(range(TOTAL))
    assert all(t.state.is_finished() for t in trials)
    assert len(drivers) == 2
    assert {t.user_attrs["driver"] for t in trials} <= drivers
    assert len({t.params["max_lr"] for t in trials}) == TOTAL  # no suggestion twice
