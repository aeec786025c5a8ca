"""What is relied on in Ray's own code to start it small, apart, and to end it whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import ray._private.worker

from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.hpo.trial import private_ray as module
from chemprop_hpo.hpo.trial.cluster import connected
from chemprop_hpo.hpo.trial.ray_processes import end_ray, ray_is_gone


def node() -> Any:
    """Return the node of Ray that this process has started."""
    return ray._private.worker._global_node


def session(leader: int) -> set[int]:
    """Return what lives of a session."""
    found = set()
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            zombie = process.info["status"] == psutil.STATUS_ZOMBIE
            if os.getsid(process.pid) == leader and not zombie:
                found.add(process.pid)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="Ray is in the driver's group there")
def test_a_private_ray_is_small_and_apart_and_leaves_nothing_even_without_its_gcs() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with connected(None):
        assert signal.getsignal(signal.SIGTERM) is handler
        processes = node().all_processes
        pids = {kind: info.process.pid for kind, (info,) in processes.items()}
        assert set(pids) == {"gcs_server", "raylet"}
        assert {os.getsid(pid) for pid in pids.values()} == set(pids.values())
        worker = ray.get(ray.remote(lambda: os.getpid()).remote())
        assert os.getsid(worker) == pids["raylet"]  # by this it is found
        assert not ray_is_gone()

        psutil.Process(pids["gcs_server"]).kill()
        deadline = time.monotonic() + 10
        while not ray_is_gone() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ray_is_gone()
    assert not ray_is_gone()
    assert not ray.is_initialized()
    assert session(pids["raylet"]) == session(pids["gcs_server"]) == set()


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_rays_processes_pass_over_a_library_that_is_slow_to_import(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    look = "import sys, jsonschema; print('lark' in sys.modules, sys.path[2])"
    with module._quick_to_import(tmp_path):
        found = subprocess.run(
            [sys.executable, "-c", look], capture_output=True, text=True, check=True
        )
    grammar, second = found.stdout.split()
    assert grammar == "False"
    assert before is None or second.endswith(before)
    assert os.environ.get("PYTHONPATH") == before


def test_a_start_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def start_once(folder: Path, ahead: module.Ahead | None) -> None:
        attempts.append(folder)
        if len(attempts) < 3:
            raise ConnectionError("too slow")

    monkeypatch.setattr(module, "_start_once", start_once)
    with module.private_ray():
        assert len(attempts) == 3
        assert attempts[0].is_dir()
    assert not attempts[0].exists()


def test_a_start_that_fails_each_time_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_once(folder: Path, ahead: module.Ahead | None) -> None:
        raise ConnectionError("too slow")

    monkeypatch.setattr(module, "_start_once", start_once)
    with pytest.raises(SweepFailedError, match="did not start on this machine: too slow"):
        module.private_ray().__enter__()


def test_there_is_nothing_to_end_where_nothing_was_started() -> None:
    assert not ray_is_gone()
    end_ray()
