"""Temporary folders that the next start clears away where a killed process left them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from chemprop_hpo.hpo.trial.ray_processes import end_members

__all__ = ["clear_leftovers", "note_session", "temporary_folder"]

PREFIX = "chp-"
# Where several machines share the folder, each knows only of its own processes.
OWNER = f"owner-{socket.gethostname()}"
SESSIONS = "sessions"
LONGEST_TEMPORARY_FOLDER = 25


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a new folder, removed at the end; if this process is killed, by `clear_leftovers`."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_short_temporary_folder()))
    handle = _own(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def note_session(folder: Path, leader: int) -> None:
    """Remember a session of processes, to be ended with the folder if this process is killed."""
    with contextlib.suppress(psutil.Error), (folder / SESSIONS).open("a") as file:
        file.write(f"{leader} {psutil.Process(leader).create_time()}\n")


def clear_leftovers() -> None:
    """Remove this user's folders whose process is gone, and end what it has left running."""
    for folder in Path(_short_temporary_folder()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
                _clear(folder)


def _own(folder: Path) -> int:
    """Lock a folder as long as this process lives: the lock goes with it, however it ends."""
    # Under another name until it is locked: a folder with an owner that holds no lock is dead.
    new = folder / f".{OWNER}"
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(handle, fcntl.LOCK_EX)
        new.rename(folder / OWNER)
    return handle


def _clear(folder: Path) -> None:
    handle = os.open(folder / OWNER, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sessions = _sessions_of(folder)
        end_members(lambda session, pid: session in sessions and _is_rays(pid, folder))
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return  # its process lives
    finally:
        os.close(handle)


def _sessions_of(folder: Path) -> set[int]:
    """Return the sessions noted in a folder, without those whose number is another's by now."""
    file = folder / SESSIONS
    lines = file.read_text().splitlines() if file.exists() else []
    noted = [words for line in lines if len(words := line.split()) == 2]  # whole lines
    return {int(pid) for pid, started in noted if not _is_another(int(pid), float(started))}


def _is_another(pid: int, started: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) > 1.0)
    except psutil.Error:
        return False  # it has ended; what it started may not have


def _is_rays(pid: int, folder: Path) -> bool:
    command = " ".join(psutil.Process(pid).cmdline())
    return command.startswith("ray::") or str(folder) in command


def _short_temporary_folder() -> str:
    # Ray puts sockets below it, whose paths may have 107 bytes at most (104 on macOS).
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= LONGEST_TEMPORARY_FOLDER else "/tmp"
