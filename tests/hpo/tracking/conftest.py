from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from chemprop_hpo.hpo.tracking.server import connect
from tests.hpo.tracking.real_server import Server, Way


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store: creating the tables takes seconds, copying the file takes none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(empty_database: Path, tmp_path: Path, free_port: int) -> Iterator[Server]:
    shutil.copy(empty_database, tmp_path / "server.db")
    server = Server(tmp_path / "server.db", free_port)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def way(server: Server) -> Iterator[Way]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    way = Way(server.uri, port)
    yield way
    way.close()
