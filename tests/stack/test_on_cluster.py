"""A command joins the Ray cluster for as long as it runs: with a Ray that only says so."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.stack.compose import ROOT

SCRIPT = ROOT / "docker" / "on_cluster.py"
SERVICES = {
    "RAY_HEAD": "head:6379",
    "MLFLOW_URL": "http://mlflow:5000",
    "LEDGER_URL": "pg://ledger",
}
START = "start --address=head:6379 --num-cpus=0 --include-log-monitor=false --block"
RAY = """#!/bin/sh
echo "$@" >> ray.txt
[ "$(wc -l < ray.txt)" -gt {failures} ] || {{ echo 'raylet timed out'; exit 1; }}
trap 'echo left >> ray.txt; exit 0' TERM
{hangs} || printf '\\033[1mRay runtime \\033[0mstarted.\\n'
while :; do sleep 0.05; done
"""
PROGRAM = """#!/bin/sh
echo "$@" > program.txt
{body}
"""


@pytest.fixture
def on_cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_cluster", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def begin(
    folder: Path,
    *arguments: str,
    body: str = "exit 3",
    failures: int = 0,
    hangs: bool = False,
) -> subprocess.Popen[str]:
    for name, text in {
        "ray": RAY.format(failures=failures, hangs="true" if hangs else "false"),
        "chemprop-hpo": PROGRAM.format(body=body),
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env=os.environ | SERVICES | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sweep_joins_without_cpus_is_told_of_the_services_and_leaves(tmp_path: Path) -> None:
    assert begin(tmp_path, "sweep", "esol.yaml", "seed=3").wait(30) == 3
    assert (tmp_path / "ray.txt").read_text().splitlines() == [
        START,
        "left",
    ]
    assert (tmp_path / "program.txt").read_text().split() == [
        *("sweep", "esol.yaml", "seed=3", "ray.address=head:6379"),
        *("mlflow.tracking_uri=http://mlflow:5000", "promotion.ledger=pg://ledger"),
    ]


def test_what_the_user_says_of_a_service_counts(
    on_cluster: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SERVICES.items():
        monkeypatch.setenv(name, value)
    told = on_cluster.with_services(["sweep", "a.yaml", "mlflow.tracking_uri=http://other:1"])
    assert [part for part in told if part.startswith("mlflow.")] == [
        "mlflow.tracking_uri=http://other:1"
    ]
    assert on_cluster.with_services(["resume", "--study", "a"]) == ["resume", "--study", "a"]


@pytest.mark.parametrize(
    ("command", "trains"),
    [
        ("registry candidate --study esol", True),
        ("registry candidate --ensemble studies/esol/ensembles", False),
        ("registry promote", False),
        ("ensembles --top-k 3", True),
        ("sweep --help", False),
        ("--version", False),
        ("", False),
    ],
)
def test_only_what_trains_joins(on_cluster: ModuleType, command: str, trains: bool) -> None:
    assert on_cluster.trains(command.split()) == trains


def test_a_command_that_needs_no_ray_joins_nothing(tmp_path: Path) -> None:
    assert begin(tmp_path, "status", "--study", "esol").wait(30) == 3
    assert not (tmp_path / "ray.txt").exists()
    assert (tmp_path / "program.txt").read_text() == "status --study esol\n"


def test_a_node_that_did_not_start_is_started_again(tmp_path: Path) -> None:
    assert begin(tmp_path, "resume", failures=2).wait(30) == 3
    assert (tmp_path / "ray.txt").read_text().splitlines()[2:] == [
        START,
        "left",
    ]


def test_a_cluster_that_is_not_there_is_said_and_no_sweep_is_begun(tmp_path: Path) -> None:
    process = begin(tmp_path, "resume", failures=9)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "raylet timed out" in said
    assert "cannot join the Ray cluster at head:6379; is ray-head up?" in said
    assert not (tmp_path / "program.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_sweep_and_the_node_is_left_after_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    body = "trap 'echo saved >> ray.txt; exit 143' TERM INT\necho up > up.txt\n"
    process = begin(tmp_path, "resume", body=f"{body}while :; do sleep 0.05; done")
    wait_for(tmp_path / "up.txt")
    process.send_signal(number)
    assert process.wait(30) == 143
    assert (tmp_path / "ray.txt").read_text().splitlines()[1:] == ["saved", "left"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_node_still_starts_ends_that(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = begin(tmp_path, "resume", hangs=True)
    wait_for(tmp_path / "ray.txt")
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert not (tmp_path / "program.txt").exists()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
