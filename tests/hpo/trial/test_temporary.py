"""Temporary folders of a killed process, and what it has left running, go with the next start."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from chemprop_hpo.hpo.trial.temporary import clear_leftovers, note_session, temporary_folder

OWNER = """
import subprocess, time
from chemprop_hpo.hpo.trial.temporary import note_session, temporary_folder
with temporary_folder() as folder:
    bash = f"exec -a ray::Worker sleep 600 & exec -a '{folder}/raylet' sleep 600"
    raylet = subprocess.Popen(["bash", "-c", bash], start_new_session=True)
    note_session(folder, raylet.pid)
    print(folder, raylet.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """A process with a folder, and the leader of a session that it has started."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder, leader = process.stdout.readline().split()
    wait_for_both(int(leader))
    yield process, Path(folder), int(leader)
    process.kill()
    process.wait()
    for left in session(int(leader)):
        left.kill()


def wait_for_both(leader: int) -> None:
    """Wait until the shell has started the worker, and has become the raylet itself."""
    deadline = time.monotonic() + 30
    while {process.name() for process in session(leader)} != {"sleep"} or len(session(leader)) < 2:
        assert time.monotonic() < deadline, session(leader)
        time.sleep(0.01)


def session(leader: int) -> list[psutil.Process]:
    """Return the living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and process.status() != "zombie":
                found.append(process)
    return found


def test_a_folder_goes_when_it_is_left() -> None:
    with temporary_folder() as folder:
        (folder / "file").touch()
        clear_leftovers()
        assert folder.is_dir()  # ours, and we live
    assert not folder.exists()


def test_what_a_killed_process_has_left_is_ended_and_removed(
    owner: tuple[subprocess.Popen[str], Path, int],
) -> None:
    process, folder, leader = owner
    assert len(session(leader)) == 2
    clear_leftovers()
    assert folder.is_dir()  # its owner lives
    assert len(session(leader)) == 2
    process.kill()
    process.wait()
    clear_leftovers()
    assert not folder.exists()
    assert session(leader) == []


def test_a_process_that_has_the_number_of_one_that_is_gone_is_spared(
    owner: tuple[subprocess.Popen[str], Path, int],
) -> None:
    process, folder, leader = owner
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        note_session(folder, stranger.pid)  # not a command of Ray's
        started = psutil.Process(leader).create_time()
        noted = (folder / "sessions").read_text()
        (folder / "sessions").write_text(noted.replace(str(started), str(started - 100)))
        process.kill()
        process.wait()
        clear_leftovers()
        assert not folder.exists()
        assert len(session(leader)) == 2
        assert len(session(stranger.pid)) == 1
        stranger.kill()


def test_where_there_are_no_locks_nothing_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with temporary_folder() as folder:
        clear_leftovers()
        assert folder.is_dir()


def test_a_killed_process_may_have_been_writing(
    owner: tuple[subprocess.Popen[str], Path, int],
) -> None:
    process, folder, _ = owner
    with (folder / "sessions").open("a") as file:
        file.write("4711")  # and the time to come
    process.kill()
    process.wait()
    clear_leftovers()
    assert not folder.exists()


def test_a_folder_that_says_nothing_of_its_owner_is_left_alone() -> None:
    folder = Path(tempfile.mkdtemp(prefix="chp-"))
    clear_leftovers()
    assert folder.is_dir()
