from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chemprop_hpo.hpo.tracking.server import connect
from tests.hpo.promotion.made_registry import Place


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store: creating its tables takes seconds, copying the file takes none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def place(empty_mlflow: Path, tmp_path: Path) -> Place:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return Place(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
