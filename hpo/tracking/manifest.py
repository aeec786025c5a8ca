"""What a run was made with: code, packages, machine, seed and data."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "GitState", "build_manifest", "git_state", "package_versions"]

PACKAGES = (
    "chemprop-hpo",
    "chemprop",
    "torch",
    "lightning",
    "ray",
    "optuna",
    "mlflow",
    "rdkit",
    "scikit-learn",
    "numpy",
)
"""The distributions whose versions decide what a training gives."""

_GIT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class GitState:
    """Where a repository stands.

    ``commit`` and ``dirty`` are None where there is no repository, no commit or no git.
    """

    commit: str | None = None
    dirty: bool | None = None
    """Whether a tracked file differs from the commit."""


def build_manifest(
    *,
    seed: int,
    data: Mapping[str, Any],
    threads: int | None = None,
    devices: Sequence[str] = (),
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return what must be known to repeat a run, ready for JSON.

    Never fails, and imports none of the packages that it names.

    Parameters
    ----------
    seed : int
        The sweep's base seed.
    data : Mapping
        Fingerprints of the data files, by name.
    threads : int, optional
        Threads of one trial. Equal seeds give equal weights only with equal threads.
    devices : Sequence of str
        What the trials train on, such as ``("cpu",)``.
    folder : Path, optional
        Folder whose git repository is described: where the configuration lies. The working
        directory by default.
    """
    git = git_state(folder or Path.cwd())
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": {"commit": git.commit, "dirty": git.dirty},
        "versions": package_versions(),
        "machine": _machine(),
        "seed": seed,
        "threads": threads,
        "devices": list(devices),
        "data": {name: _plain(value) for name, value in data.items()},
    }


def package_versions() -> dict[str, str | None]:
    """Return the version of Python and of each of `PACKAGES`, None where it is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def git_state(folder: Path) -> GitState:
    """Return the commit of the repository that holds ``folder``; never fails.

    Files that git does not track do not make a repository dirty.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return GitState()
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return GitState(commit=commit, dirty=None if changes is None else bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    # Neither a lock on the user's index nor a program that their configuration names.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "usable_cpus": _usable_cpus(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _usable_cpus() -> int | None:
    # A container or a batch system may grant fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
