"""What a sweep leaves behind: processes of Ray's, and files."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.faults.snapshots import Snapshot

__all__ = ["end_all", "file_violations", "processes_of"]


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the living processes whose HOME is ``home`` or a folder in it."""
    return [process for process in psutil.process_iter() if _lives_in(process, home)]


def _lives_in(process: psutil.Process, home: Path) -> bool:
    try:
        its_home = process.environ().get("HOME", "")
        return Path(its_home).is_relative_to(home) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_all(home: Path) -> int:
    """SIGKILL the processes of ``home``, by their ids, and return how many there were."""
    ended: set[int] = set()
    deadline = time.monotonic() + 30
    while living := processes_of(home):
        for process in living:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
            ended.add(process.pid)
        psutil.wait_procs(living, timeout=5)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of {home} cannot be ended: {living}")
    return len(ended)


def file_violations(folder: Path, now: Snapshot, top_k: int) -> list[str]:
    """Judge the study's folder when the sweep is over: the best have their weights, no more."""
    best = _best_folders(now, top_k)
    missing = [name for name in best if not (folder / name / "best.pt").exists()]
    present = {path.relative_to(folder).as_posix() for path in folder.glob("trials/*")}
    return [
        *(f"{name} is among the best {top_k} and has no weights" for name in missing),
        *(f"{name} is left although nobody needs it" for name in sorted(present - set(best))),
        *(
            f"{path.relative_to(folder)} is left of a finished trial"
            for pattern in ("*.tmp", "*.ckpt")
            for path in sorted(folder.rglob(pattern))
        ),
    ]


def _best_folders(now: Snapshot, top_k: int) -> list[str]:
    complete = [link for link in now.links if link.state == "COMPLETE"]
    ranked = sorted(complete, key=lambda link: (link.value, link.number))  # lower is better
    return [str(link.attributes["checkpoint"]) for link in ranked[:top_k]]
