"""How soon the commands answer: the way to the first epoch, and what reading a study costs.

    python benchmarks/commands.py --file delaney-processed.csv \\
        --target "measured log solubility in mols per litre" [--smiles smiles] [--repeats 5]

One after the other, again and again: a process that only imports the libraries; `chemprop-hpo
sweep` of one trial of one epoch, with MLflow in SQLite and without, until its first epoch stands
in the study; then ``--help``, ``status`` and ``top-k`` of that study. Of each there is the wall
time, of those that read the CPU time of the process, and of the sweeps the ratio to the imports
within one repeat: median, least and most. A limit that is missed is said, with exit code 1.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from limits import Figure, exit_code

IMPORTS = "import ray.tune, optuna, torch, lightning, chemprop"
COMMAND = str(Path(sys.executable).with_name("chemprop-hpo"))
STUDY = "first"
PATIENCE_S, LOOK_EVERY_S = 180.0, 0.05

LIMITS = {
    "`sweep`, ratio": 1.5,
    "`--help`: CPU": 0.5,
    "`status`: CPU": 2.0,
    "`top-k`: CPU": 2.0,
}
"""By the beginning of a figure's name."""


def main() -> int:
    """Measure, print the table, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for name, figure in _once(options.file.absolute(), options.smiles, options.target).items():
            found.setdefault(name, []).append(figure)
    print("| | median | least | most |\n|---|---|---|---|")
    for name, figures in found.items():
        shown = (statistics.median(figures), min(figures), max(figures))
        print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in shown)} |")
    return exit_code(
        Figure(name, statistics.median(figures), limit)
        for name, figures in found.items()
        for start, limit in LIMITS.items()
        if name.startswith(start)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, required=True, metavar="CSV")
    parser.add_argument("--target", required=True, metavar="COLUMN")
    parser.add_argument("--smiles", default="smiles", metavar="COLUMN")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _once(file: Path, smiles: str, target: str) -> dict[str, float]:
    imports, _ = _run([sys.executable, "-c", IMPORTS])
    found = {"imports alone: s": imports}
    for tracking in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            sweep = _sweep_file(Path(folder), file, smiles, target, tracking=tracking)
            first = _first_epoch(sweep)
            how = "with MLflow" if tracking else "without"
            found[f"`sweep`: s to the first epoch, {how}"] = first
            found[f"`sweep`, ratio to the imports, {how}"] = first / imports
            if not tracking:
                found |= _read(Path(folder))
    return found


def _read(folder: Path) -> dict[str, float]:
    of_study = ["--study", STUDY, "--storage", _storage(folder)]
    commands = {
        "--help": ["--help"],
        "status": ["status", *of_study],
        "top-k": ["top-k", "-k", "1", *of_study],
    }
    found = {}
    for name, arguments in commands.items():
        wall, cpu = _run([COMMAND, *arguments])
        found[f"`{name}`: s"], found[f"`{name}`: CPU s"] = wall, cpu
    return found


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Run a command to its end, and return wall and CPU seconds."""
    before, began = _ended_cpu_s(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began, _ended_cpu_s() - before


def _ended_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _first_epoch(sweep: Path) -> float:
    """Run a sweep to its end, and return the seconds to the first epoch in its study."""
    log = sweep.with_suffix(".log")
    with log.open("wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            [COMMAND, "sweep", str(sweep)], stdout=out, stderr=subprocess.STDOUT
        )
        try:
            while not _has_epoch(sweep.parent / "studies.db"):
                if process.poll() is not None or time.monotonic() - began > PATIENCE_S:
                    raise SystemExit(f"the sweep has no epoch:\n{log.read_text()}")
                time.sleep(LOOK_EVERY_S)
            first = time.monotonic() - began
            if process.wait():
                raise SystemExit(f"the sweep failed:\n{log.read_text()}")
        finally:
            process.terminate()  # nothing happens to one that has ended
            process.wait()
    return first


def _has_epoch(database: Path) -> bool:
    if not database.exists():
        return False
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return bool(connection.execute("SELECT 1 FROM trial_intermediate_values").fetchone())
    except sqlite3.OperationalError:  # its tables are being made
        return False
    finally:
        connection.close()


def _sweep_file(folder: Path, file: Path, smiles: str, target: str, *, tracking: bool) -> Path:
    sweep = folder / "sweep.yaml"
    settings = {
        "data": {"file": str(file), "smiles_col": smiles, "target_cols": [target]},
        "optimization": {"batch_size": 64, "max_epochs": 1},
        "scheduler": {"type": "none", "max_t": 1},
        "search_space": {"dropout": {"type": "uniform", "low": 0.0, "high": 0.4}},
        "num_samples": 1,
        "transfer_learning": {"top_k": 1},
        "study": {"name": STUDY, "storage": _storage(folder), "folder": str(folder / "study")},
        "mlflow": {"tracking": tracking, "tracking_uri": f"sqlite:///{folder}/mlflow.db"},
    }
    sweep.write_text(yaml.safe_dump(settings))
    return sweep


def _storage(folder: Path) -> str:
    return f"sqlite:///{folder}/studies.db"


if __name__ == "__main__":
    sys.exit(main())
