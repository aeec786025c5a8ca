from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.tracking.server import check_reachable, connect, experiment_id


def test_server_that_takes_the_call_and_never_answers_is_given_up(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        begin = time.monotonic()
        with pytest.raises(TrackingError, match="cannot reach"):
            check_reachable(f"http://127.0.0.1:{free_port}")
        assert time.monotonic() - begin < 10


def test_password_of_an_unreachable_database_is_masked(free_port: int) -> None:
    with pytest.raises(TrackingError) as caught:
        check_reachable(f"postgresql+psycopg://me:hunter2@127.0.0.1:{free_port}/mlflow")
    assert "***" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be read as one" * 50)
    begin = time.monotonic()
    with pytest.raises(TrackingError, match=r"mlflow\.db"):
        connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("uri", ["./mlruns", "file:///somewhere/mlruns", "sqlite://", "htp://x"])
def test_stores_that_cannot_be_used_say_what_to_do(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"mlflow\.tracking=false"):
        check_reachable(uri)


def test_checking_creates_nothing(tmp_path: Path) -> None:
    check_reachable(f"sqlite:///{tmp_path / 'deep' / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []


def test_deleted_experiment_is_refused_with_the_way_back(uri: str, client: MlflowClient) -> None:
    config = MlflowConfig(tracking_uri=uri)
    client.delete_experiment(experiment_id(client, config))
    with pytest.raises(TrackingError, match=r"mlflow experiments restore --experiment-id \d+"):
        experiment_id(client, config)


def test_two_drivers_may_begin_on_a_fresh_database_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code = (
        "import sys; from chemprop_hpo.hpo.tracking.server import connect, experiment_id\n"
        "from chemprop_hpo.configs.schema import MlflowConfig\n"
        "print(experiment_id(connect(sys.argv[1]), MlflowConfig(tracking_uri=sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, uri]
    both = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120) for process in both]
    # Nothing but the id either: MLflow's lines about its tables are for its own developers.
    assert printed == [("1\n", ""), ("1\n", "")]
