"""What is killed, when, and how: blows drawn from a random generator."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tests.faults.remains import processes_of

__all__ = [
    "VICTIMS",
    "Anchor",
    "Blow",
    "Victim",
    "draw_blow",
    "kill_raylet",
    "kill_worker",
    "raylets",
    "workers",
]

Victim = Literal["driver", "worker", "raylet", "database"]
Anchor = Literal["start", "raylet", "worker", "epoch", "end", "step"]

VICTIMS: tuple[Victim, ...] = ("driver", "worker", "raylet", "database")

# How a driver's time is spread over what it does: most of it goes by while Ray and its workers
# start, where little happens, so moments are drawn within each of its phases.
PHASES: dict[Victim, Sequence[tuple[Anchor, float]]] = {
    "driver": [("step", 4), ("start", 2), ("raylet", 1), ("worker", 1), ("epoch", 5), ("end", 2)],
    "worker": [("worker", 2), ("epoch", 5)],
    "raylet": [("raylet", 1), ("worker", 2), ("epoch", 4), ("end", 1)],
    "database": [("raylet", 1), ("worker", 2), ("epoch", 6), ("end", 1)],
}
LONGEST_DELAY_S: dict[Anchor, float] = {
    "start": 8,
    "raylet": 6,
    "worker": 4,
    "epoch": 1,
    "end": 2,
    "step": 0,
}
# About what one trial of the small sweep takes.
EPOCHS_A_TRIAL = 5
STEPS_A_TRIAL = 180
STEPS_AROUND = 120


@dataclass(frozen=True)
class Blow:
    """One kill: of whom, and when.

    The moment is ``delay_s`` after the command's start, after Ray's raylet or a training worker
    is seen, after the command's n-th epoch, after the last trial of the budget has ended, or it is
    the command's n-th step in the database. ``part`` says which of them, from 0 to 1.
    """

    victim: Victim
    anchor: Anchor
    part: float = 0.0
    delay_s: float = 0.0
    lasts_s: float = 0.0
    """How long the database is away."""

    @property
    def ends_the_driver(self) -> bool:
        return self.victim in ("driver", "raylet")

    def epoch(self, trials_left: int) -> int:
        """Return the epoch to wait for, counted from now."""
        return 1 + int(self.part * EPOCHS_A_TRIAL * trials_left)

    def step(self, trials_left: int) -> int | None:
        """Return the step at which the command is to kill itself, if that is the moment."""
        if self.anchor != "step":
            return None
        return 1 + int(self.part * (STEPS_AROUND + STEPS_A_TRIAL * trials_left))

    def __str__(self) -> str:
        part = f" ({self.part:.0%})" if self.anchor in ("epoch", "step") else ""
        away = f" for {self.lasts_s:.1f} s" if self.victim == "database" else ""
        return f"{self.victim} at {self.anchor}{part} + {self.delay_s:.2f} s{away}"


def draw_blow(victim: Victim, draw: random.Random) -> Blow:
    """Draw the moment of a kill."""
    anchors, weights = zip(*PHASES[victim], strict=True)
    anchor: Anchor = draw.choices(anchors, weights)[0]
    return Blow(
        victim,
        anchor,
        part=draw.random(),
        delay_s=draw.uniform(0, LONGEST_DELAY_S[anchor]),
        lasts_s=draw.uniform(1, 8),
    )


def raylets(home: Path) -> list[psutil.Process]:
    """Return the raylet of the command with that HOME."""
    return [process for process in processes_of(home) if _command(process).endswith("/raylet")]


def workers(home: Path) -> list[psutil.Process]:
    """Return the workers that train, or begin to: Ray gives them a title."""
    titles = ("ray::ResourceTrainable", "ray::TrialTrainable")
    return [process for process in processes_of(home) if _command(process).startswith(titles)]


def importing_workers(home: Path) -> list[psutil.Process]:
    """Return the workers that are being started."""
    files = ("default_worker.py", "setup_worker.py")
    return [p for p in processes_of(home) if any(f in _line(p) for f in files)]


def kill_raylet(home: Path) -> bool:
    """Kill Ray's raylet; False if there is none."""
    return _kill(raylets(home))


def kill_worker(home: Path, draw: random.Random) -> bool:
    """Kill one worker, which may still be importing; False if there is none."""
    living = workers(home) or importing_workers(home)
    return _kill([draw.choice(living)]) if living else False


def _kill(processes: list[psutil.Process]) -> bool:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            return True
    return False


def _command(process: psutil.Process) -> str:
    return (_words(process) or [""])[0]


def _line(process: psutil.Process) -> str:
    return " ".join(_words(process))


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
        return words
    except psutil.Error:
        return []
