"""A driver as a process of its own, to be signalled and killed, and all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.hpo import paced
from tests.hpo.scripted import GOOD, table

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0
"""How long a state is waited for: a Ray may take a minute to start on a busy machine."""


class Driver:
    """A command under way.

    Parameters
    ----------
    folder : Path
        Where it runs.
    *program : str
        What follows the Python interpreter on the command line.
    """

    def __init__(self, folder: Path, *program: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "HOME": str(folder),
                "PYTHONPATH": str(ROOT),
                paced.PACE: str(folder / "pace"),
            },
        )
        self.known: dict[tuple[int, float], psutil.Process] = {}

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """Return what ``what`` returns once that is true; fail if the driver ends before."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.ended(5)}")
            self.family()
            if found := what():
                return found
            time.sleep(0.1)
        raise AssertionError("it did not come to that")

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the driver, or to its group as a terminal and a batch system do."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def ended(self, within_s: float) -> tuple[int, str]:
        """Return exit code and output of a driver that ends in time."""
        output = self.process.communicate(timeout=within_s)[0]
        return self.process.returncode, output

    def maps(self) -> str:
        """Return which libraries the driver has loaded."""
        return Path(f"/proc/{self.process.pid}/maps").read_text()

    # ------------------------------------------------------------------ what it has started

    def family(self) -> list[psutil.Process]:
        """Return all that the driver has started, as far as it lives, whoever is its parent now."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.known.setdefault((child.pid, child.create_time()), child)
        return [process for process in self.known.values() if lives(process)]

    def named(self, word: str) -> list[psutil.Process]:
        """Return those of the family that run the program of this name."""
        return [p for p in self.family() if word in command_of(p).partition(" --")[0]]

    def workers(self) -> list[psutil.Process]:
        """Return Ray's workers, those too that are only being started."""
        found = [*self.named("ray::"), *self.named("default_worker.py")]
        return [process for process in found if "Agent" not in command_of(process)]

    def left(self, *, but: str = "-", within_s: float = 5.0) -> list[str]:
        """Return what lives of the family, given a moment to end."""
        deadline = time.monotonic() + within_s
        while True:
            left = [command for p in self.family() if but not in (command := command_of(p))]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def end(self) -> None:
        """Leave nothing running."""
        self.family()
        self.process.kill()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def command_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


class PacedSweep:
    """A sweep of two trials at once, whose epochs last as long as a test wants.

    Parameters
    ----------
    folder : Path
        Where all of it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/studies.db"
        self.file = folder / "paced.yaml"
        self.file.write_text(yaml.safe_dump(_config(folder)))

    @contextlib.contextmanager
    def driver(self, pace_s: float) -> Iterator[Driver]:
        """Start the sweep, or go on with it, with epochs of so many seconds."""
        (self.folder / "pace").write_text(str(pace_s))
        driver = Driver(self.folder, "-m", "tests.hpo.paced", "sweep", str(self.file))
        try:
            yield driver
        finally:
            driver.end()

    @contextlib.contextmanager
    def training(self, pace_s: float) -> Iterator[Driver]:
        """The same, once both trials have trained epochs that they had not before."""
        before = self.epochs()
        with self.driver(pace_s) as driver:
            driver.wait_for(lambda: self.both_beyond(before))
            yield driver

    def both_beyond(self, before: dict[int, int]) -> bool:
        """Whether both running trials are beyond the epochs that were known."""
        now, running = self.epochs(), self.numbers("RUNNING")
        return len(running) == 2 and all(
            now.get(number, 0) > max([0, *before.values()]) for number in running
        )

    def epochs(self) -> dict[int, int]:
        """Return the last epoch of each trial that has one, by its number."""
        query = (
            "SELECT number, max(step) FROM trials JOIN trial_intermediate_values USING (trial_id)"
            " GROUP BY number"
        )
        return dict(self._rows(query))

    def epochs_without_checkpoint(self) -> dict[str, int]:
        """Return, by trial folder, the last epoch that is known, where no checkpoint has it."""
        query = (
            "SELECT value_json, max(step) FROM trial_user_attributes JOIN"
            " trial_intermediate_values USING (trial_id) WHERE key = 'checkpoint' GROUP BY 1"
        )
        known = {json.loads(folder): epoch for folder, epoch in self._rows(query)}
        return {
            folder: epoch for folder, epoch in known.items() if self._checkpoint(folder) < epoch
        }

    def _checkpoint(self, folder: str) -> int:
        found = (self.folder / "study" / folder).glob("epoch_*.ckpt")
        return max((int(path.stem.removeprefix("epoch_")) for path in found), default=0)

    def numbers(self, state: str) -> list[int]:
        """Return the numbers of the trials in a state."""
        rows = self._rows("SELECT number FROM trials WHERE state = ? ORDER BY number", state)
        return [number for (number,) in rows]

    def _rows(self, query: str, *values: str) -> list[Any]:
        # Plain SQL: Optuna takes seconds to open a database.
        path = self.folder / "studies.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                return []


def _config(folder: Path) -> dict[str, Any]:
    return {
        "data": {"file": str(table(folder)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "val_fraction": 0.2},
        "model": {"depth": GOOD},
        "optimization": {"max_epochs": 300},
        "search_space": {"max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}},
        "num_samples": 2,
        "scheduler": {"type": "none", "max_t": 300},
        "resources": {"max_concurrent_trials": 2},
        "study": {
            "name": "paced",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
    }


def stop(processes: list[psutil.Process]) -> None:
    """Have processes do nothing, as if they hung."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
