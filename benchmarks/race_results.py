"""What each side of the race did: one JSON file for each repeat."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from processes import Cost

__all__ = ["SIDES", "Figures", "Result", "Setting", "best_at", "machine", "read_results", "write"]

SIDES = {
    "ours": "sweep with ASHA",
    "whole": "sweep, every trial to its end",
    "hpopt": "`chemprop hpopt`, FIFO",
    "floor": "bare torch loop, the trials of `whole` again",
    "ensembles": "ensembles of the best of `ours`",
    "train": "`chemprop train`, the best of `ours`, as many at once as CPUs",
    "loop": "`chemprop train`, the same, one after the other",
}
"""In the order in which they run: later ones train what earlier ones have found."""


@dataclass(frozen=True)
class Setting:
    """What all sides are asked to do; results of another setting are refused."""

    data: str
    trials: int = 32
    epochs: int = 27
    cpus: int = 2
    members: tuple[int, int, int] = (3, 5, 5)
    """Configurations, splits and folds of the ensembles."""
    trains: int = 6
    """How often `chemprop train` runs."""


@dataclass(frozen=True)
class Figures:
    """What a side left behind.

    Attributes
    ----------
    finished, failed : int
        Trials or models. One that ASHA stopped is finished.
    epochs : int
        That all of them trained.
    curve : sequence of (float, float)
        Seconds from the start, and the best validation RMSE of each trial that was ready then.
    test_rmse : float, optional
        Of the one model, or combination, that it would hand over.
    validation_rmse : float, optional
        Of the same.
    early_test_rmse : float, optional
        Of what it would have handed over when ``ours`` had ended.
    depth : float, optional
        The mean depth of the trials, which has a large part in what they cost.
    kept_mb : float
        What lies on the disk at the end, 10^6 bytes.
    weights : int
        How many models are among it.
    """

    finished: int = 0
    failed: int = 0
    epochs: int = 0
    curve: Sequence[tuple[float, float]] = ()
    test_rmse: float | None = None
    validation_rmse: float | None = None
    early_test_rmse: float | None = None
    depth: float | None = None
    kept_mb: float = 0.0
    weights: int = 0

    def since(self, began: float) -> Figures:
        """Return them with the curve's moments, which are seconds since 1970, from the start."""
        curve = tuple((at - began, rmse) for at, rmse in self.curve)
        return replace(self, curve=curve)


@dataclass(frozen=True)
class Result:
    """One repeat of one side."""

    side: str
    repeat: int
    setting: Setting
    asked: int
    """Trials or models that it was to train."""
    cost: Cost
    figures: Figures
    load: float
    """The load of the machine, a mean of five minutes, when it began."""
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it did all that was asked, in time."""
        ended = self.cost.code == 0 and not self.cost.timed_out
        return ended and self.figures.finished >= self.asked

    def per_trial(self, amount: float) -> float | None:
        """Return the share of one trial that was finished."""
        return amount / self.figures.finished if self.figures.finished else None


def best_at(curve: Sequence[tuple[float, float]], seconds: float) -> float | None:
    """Return the best validation RMSE of the trials that were ready by then."""
    return min((rmse for ready, rmse in curve if ready <= seconds), default=None)


def write(result: Result, out: Path) -> None:
    """Store a result, whole or not at all."""
    path = _path(out, result.side, result.repeat)
    half = path.with_suffix(".tmp")
    half.write_text(json.dumps(asdict(result), indent=1))
    half.replace(path)


def read_results(out: Path, setting: Setting) -> list[Result]:
    """Return the results that there are, by side and repeat.

    Raises
    ------
    SystemExit
        If one of them was measured with another setting.
    """
    found = [_read(path) for side in SIDES for path in sorted(out.glob(f"{side}-*.json"))]
    for result in found:
        if result.setting != setting:
            path = _path(out, result.side, result.repeat)
            raise SystemExit(
                f"{path}: was measured with {_differences(result.setting, setting)}; "
                "remove it, or name another folder with --out"
            )
    return found


def machine(peer: Path) -> dict[str, str]:
    """Return what the figures depend on: processor, memory, versions."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    own = {name: version(name) for name in ("chemprop-hpo", "chemprop", "ray", "optuna", "torch")}
    return {
        "processor": f"{os.cpu_count()} x {names[0] if names else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "commit": _said_by("git", "describe", "--always", "--dirty"),
        "ours": ", ".join(f"{name} {number}" for name, number in own.items()),
        "peer": _peer_versions(peer),
    }


def _peer_versions(peer: Path) -> str:
    code = (
        "from importlib.metadata import version as v; "
        "print(', '.join(f'{n} {v(n)}' for n in ('chemprop', 'ray', 'hyperopt', 'torch')))"
    )
    if not (peer / "bin" / "python").exists():
        return "not installed"
    return _said_by(str(peer / "bin" / "python"), "-c", code)


def _said_by(*command: str) -> str:
    said = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return said.stdout.strip() or "unknown"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _path(out: Path, side: str, repeat: int) -> Path:
    return out / f"{side}-{repeat}.json"


def _read(path: Path) -> Result:
    stored: dict[str, Any] = json.loads(path.read_text())
    setting = stored.pop("setting")
    setting["members"] = tuple(setting["members"])
    cost, figures = Cost(**stored.pop("cost")), Figures(**stored.pop("figures"))
    curve = tuple((seconds, rmse) for seconds, rmse in figures.curve)
    figures = replace(figures, curve=curve)
    return Result(**stored, setting=Setting(**setting), cost=cost, figures=figures)


def _differences(one: Setting, other: Setting) -> str:
    theirs, mine = asdict(one), asdict(other)
    names = [name for name in theirs if theirs[name] != mine[name]]
    return ", ".join(f"{name} {theirs[name]} and not {mine[name]}" for name in names)
