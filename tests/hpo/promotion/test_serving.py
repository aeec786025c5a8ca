"""A registered model is served by MLflow's own command, offline."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.hpo.promotion.promoting import promote
from tests.hpo.promotion.made_registry import Place

STARTS_WITHIN_S = 120


@pytest.fixture
def served(place: Place) -> Iterator[str]:
    """The address of a server of the champion, which may not reach any network."""
    place.candidate()
    with place.ledger() as ledger:
        assert promote(place.registry(), ledger, place.config.promotion).moved
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mlflow = Path(sys.executable).with_name("mlflow")
    command = [
        mlflow,
        "models",
        "serve",
        "-m",
        "models:/alkanes@champion",
        "--env-manager",
        "local",
    ]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "MLFLOW_TRACKING_URI": place.uri}
    environment |= {"PATH": f"{mlflow.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [*command, "-p", str(port)],
        env=environment,
        cwd=place.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, server)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


def ask(address: str, smiles: list[str | None]) -> list[dict[str, Any]]:
    body = {"dataframe_split": {"columns": ["smiles"], "data": [[text] for text in smiles]}}
    request = urllib.request.Request(
        f"{address}/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    found: list[dict[str, Any]] = json.loads(text, parse_constant=refuse)["predictions"]
    return found


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


def test_the_champion_is_served_with_reasons_and_in_strict_json(served: str) -> None:
    good, bad, missing = ask(served, ["CCO", "nonsense", None])
    assert good["valid"] is True
    assert isinstance(good["carbons_mean"], float)
    assert (bad["carbons_mean"], bad["valid"], bad["error"]) == (None, False, "not a valid SMILES")
    assert missing["error"] == "there is no SMILES"
