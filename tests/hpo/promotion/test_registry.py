"""Where registry and ledger are, and how a registered model answers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from chemprop_hpo.configs.errors import (
    ConfigError,
    TrackingError,
    UsageError,
)
from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
from chemprop_hpo.hpo.promotion.registered.model_run import ModelRun
from chemprop_hpo.hpo.promotion.registered.registry import Version, open_registry
from chemprop_hpo.hpo.tracking import server
from tests.hpo.promotion.made_registry import (
    TEST_ROWS,
    Place,
    config_of,
    promoted,
)
from tests.hpo.tracking.real_server import Way

# ------------------------------------------------------------------ places


def test_the_ledger_is_beside_mlflows_file_and_needs_a_name_beside_a_server(tmp_path: Path) -> None:
    assert ledger_url(config_of(f"sqlite:///{tmp_path}/mlflow.db")) == (
        f"sqlite:///{tmp_path}/promotions.db"
    )
    with pytest.raises(
        UsageError, match=r"promotion.ledger is not set, and the registry is at http"
    ):
        ledger_url(config_of("http://mlflow:5000"))
    named = config_of("http://mlflow:5000", ledger="sqlite:///here.db")
    assert ledger_url(named) == "sqlite:///here.db"


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="cannot reach the MLflow server at http://127.0.0.1:9"):
        open_registry(config_of("http://127.0.0.1:9"))


def test_a_name_that_mlflow_cannot_take_is_refused_when_it_is_configured() -> None:
    with pytest.raises(ConfigError, match="promotion.registry"):
        config_of("sqlite:///mlflow.db", registry="a/b")


def test_a_name_that_is_not_there_is_told_with_those_that_are(place: Place) -> None:
    registry = place.registry()
    with pytest.raises(UsageError) as caught:
        registry.require()
    assert str(caught.value) == (
        f"there is no registered model 'alkanes' at {place.uri}; there are: none; name one with "
        "promotion.registry=NAME, or register a model with: chemprop-hpo registry candidate"
    )
    for number in range(11):
        registry.client.create_registered_model(f"assay_{number:02}")
    with pytest.raises(UsageError, match="'assay_00', .*'assay_09', and more; name one with"):
        registry.require()
    registry.client.create_registered_model("alkanes")
    registry.require()


# ------------------------------------------------------------------ slow servers


class Slow(Way):
    """A server that answers at once, and takes its time over files."""

    def __init__(self, port: int) -> None:
        super().__init__("", port)
        self.refused = False
        self.taken: list[tuple[str, bytes | None]] = []

    def passed_on(  # type: ignore[override]  # it knows which of them it is
        self, server: str, call: BaseHTTPRequestHandler, body: bytes | None
    ) -> tuple[int, bytes]:
        path = call.path.partition("?")[0]
        if path.endswith("/experiments/get-by-name"):
            found = {"experiment_id": "1", "name": "chemprop_hpo", "lifecycle_stage": "active"}
            return 200, json.dumps({"experiment": found}).encode()
        if path.endswith(("/runs/get", "/runs/create")):
            info = {"run_id": "r", "artifact_uri": "mlflow-artifacts:/1/r/artifacts"}
            return 200, json.dumps({"run": {"info": info, "data": {}}}).encode()
        if path.endswith("/artifacts/1/r/artifacts/record.json"):
            time.sleep(1.5)
            self.taken.append((call.command, body))
            return 200, b"{}"
        if self.refused and "mlflow-artifacts" in path:
            return 403, b"not yours"
        if path.endswith("/mlflow-artifacts/artifacts"):
            files = [{"path": "record.json", "is_dir": False, "file_size": 2}]
            return 200, json.dumps({"files": files}).encode()
        return 200, b"{}"


@pytest.fixture
def slow() -> Iterator[Slow]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    slow = Slow(port)
    yield slow
    slow.close()


def test_a_file_may_take_longer_than_an_answer(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server._SHORT_PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    registry = open_registry(config_of(slow.uri))
    (tmp_path / "record.json").write_text("{}")
    ModelRun(registry, config_of(slow.uri), "candidate", {}).log_folder(tmp_path)
    version = Version("1", "r", datetime.now(UTC), (), {})
    with registry.artifact(version, "record.json") as path:
        assert path is not None
        assert path.read_text() == "{}"
    assert slow.taken == [("PUT", b"{}"), ("GET", None)]


@pytest.mark.parametrize(
    ("breaks", "advice"),
    [
        (True, "start the server, or try again when it answers"),
        (False, "correct mlflow.tracking_uri, or get leave to read and write there"),
    ],
)
def test_files_that_a_server_does_not_give_are_told_with_what_to_do(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, breaks: bool, advice: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    slow.refused = not breaks
    slow.breaks = lambda path: breaks and "mlflow-artifacts" in path
    version = Version("1", "r", datetime.now(UTC), (), {})
    with pytest.raises(TrackingError) as caught:
        open_registry(config_of(slow.uri)).record(version)
    assert str(caught.value).endswith(f"; {advice}")


# ------------------------------------------------------------------ served


def test_a_registered_model_is_loaded_by_its_alias_and_answers_in_strict_json(place: Place) -> None:
    place.candidate()
    promoted(place)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(place.uri)
    try:
        model = mlflow.pyfunc.load_model("models:/alkanes@champion")
    finally:
        mlflow.set_tracking_uri(before)
    said = model.predict(pd.DataFrame({"smiles": ["CCO", "nonsense", None, *TEST_ROWS]}))
    assert said["valid"].tolist() == [True, False, False, *[True] * len(TEST_ROWS)]
    rows = said.to_dict("records")
    json.dumps(rows, allow_nan=False)
    assert rows[1]["carbons_mean"] is None
    assert rows[1]["error"] == "not a valid SMILES"
    assert isinstance(rows[0]["carbons_mean"], float)
