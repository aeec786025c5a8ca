"""A cluster that went away is noticed without a call to it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from chemprop_hpo.hpo.trial.joined_ray import Knocking, watched_cluster
from chemprop_hpo.hpo.trial.ray_processes import ray_is_gone


def comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def open_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_port_that_closes_is_silent_after_a_while() -> None:
    with contextlib.closing(open_port()) as port:
        host, number = port.getsockname()
        with Knocking(host, number, every_s=0.05, silent_s=0.5) as knocking:
            time.sleep(1.5)  # longer than it may be silent
            assert not knocking.is_silent
            port.close()
            assert comes_true(lambda: knocking.is_silent)


def test_a_port_that_opens_again_in_time_was_not_away() -> None:
    with contextlib.closing(open_port()) as port:
        host, number = port.getsockname()
        with Knocking(host, number, every_s=0.05, silent_s=2.0) as knocking:
            port.close()
            time.sleep(0.5)
            assert not knocking.is_silent
            with contextlib.closing(socket.create_server((host, number))):
                time.sleep(2.5)
                assert not knocking.is_silent


def test_a_raylet_that_was_killed_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    raylet = subprocess.Popen([*sleep, "--raylet_socket_name=/tmp/this-test/raylet"])
    with contextlib.closing(open_port()) as port:
        address = "{}:{}".format(*port.getsockname())
        node = SimpleNamespace(
            raylet_socket_name="/tmp/this-test/raylet", gcs_address=address, all_processes={}
        )
        monkeypatch.setattr("ray._private.worker._global_node", node)
        with watched_cluster():
            assert not ray_is_gone()
            raylet.kill()
            assert comes_true(ray_is_gone)
            raylet.wait()
            assert ray_is_gone()
        assert not ray_is_gone()
