"""The race: this package against `chemprop hpopt`, `chemprop train` and a bare loop in torch.

    make bench [ARGS="--data delaney-processed.csv --only ours floor"]
    python benchmarks/race.py --data delaney-processed.csv [--out OUT] [--only SIDE ...]
        [--trials 32] [--epochs 27] [--repeats 3] [--limit 60] [--members 3 5 5] [--trains 6]

On ESOL, in one run on one machine, one after the other, with the same rows, epochs, CPUs and space
(depth, dropout, layers of the head, highest learning rate; hidden sizes of 300):

- ``ours``: a sweep with ASHA (grace period 3, reduction factor 3).
- ``whole``: the same sweep with every trial trained to its end.
- ``hpopt``: `chemprop hpopt` with FIFO, in an environment of its own, through
  `peer_hpopt.py`, without which it does not end.
- ``floor``: a bare loop that trains what ``whole`` has trained, on batches collated once.
- ``ensembles``: ensembles of the best configurations of ``ours``.
- ``train``: `chemprop train` of these configurations, as many at once as there are CPUs, one thread
  each.
- ``loop``: half as many one after the other, with a thread for each CPU.

What differs: the samplers (TPE here, HyperOpt there); every other draw of hpopt's dropout is 0,
here all values are as likely; a trial of hpopt counts with its last epoch, one of ours with its
best; ours logs to its database and can go on after a kill. A trial enters the curve when it has
ended. The RMSE of a side is that of the one model it would hand over, as Chemprop predicts with it;
of ``train`` and ``loop`` that of the first model, of ``ensembles`` that of all members together.

Each repeat of a side is one JSON file in OUT: the same command measures what is missing; where
``ensembles`` was ended half-way, ``ours`` has to be run once more before it. A side that reaches
the time limit is ended, and what it did by then is told as that. A run of all sides with the
settings above writes RESULTS.md and results.png beside this file; any other writes them into OUT.
With these settings the exit code is 1 where a limit is missed, where a ratio is worse by a quarter
than the best so far (results.json), or a side of ours did not do all that was asked. It is 2 where
the settings are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import race_ours
import race_peer
from processes import Cost, measure
from race_results import SIDES, Result, Setting, machine, read_results, write
from race_tables import draw, judge, report
from race_track import LeftOutError, Run, Track

HERE = Path(__file__).resolve().parent
RUNS = {
    "ours": race_ours.ours,
    "whole": race_ours.whole,
    "hpopt": race_peer.hpopt,
    "floor": race_ours.floor,
    "ensembles": race_ours.ensembles,
    "train": race_peer.train,
    "loop": race_peer.loop,
}
PEER_SIDES = ("hpopt", "train", "loop")
TELL_EVERY_S = 60.0
REPEATS = 3


def main() -> int:
    """Measure what is missing, write the tables, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    setting = _setting(options)
    if options.check:
        return 0
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    read_results(out, setting)  # refuses another setting before anything is run
    sides = possible(options.only, options.peer)
    for repeat in range(options.repeats):
        track = Track(setting, out, options.peer.absolute(), repeat)
        for side in (side for side in SIDES if side in sides):
            if not (out / f"{side}-{repeat}.json").exists():
                measure_side(side, track, options.limit * 60)
    return _conclude(read_results(out, setting), setting, out, options.repeats)


def _options() -> argparse.Namespace:
    default = Setting("")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/delaney-processed.csv"))
    parser.add_argument("--out", type=Path, default=HERE / "race-out", metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--trials", type=int, default=default.trials)
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--cpus", type=int, default=default.cpus, help="trials at once")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--limit", type=float, default=60.0, metavar="MINUTES", help="of a side")
    parser.add_argument(
        "--members",
        type=int,
        nargs=3,
        default=default.members,
        metavar=("CONFIGURATIONS", "SPLITS", "FOLDS"),
    )
    parser.add_argument("--trains", type=int, default=default.trains)
    parser.add_argument("--peer", type=Path, default=HERE.parent / ".venv-peer", metavar="VENV")
    parser.add_argument("--check", action="store_true", help="look at the settings, run nothing")
    return parser.parse_args()


def _setting(options: argparse.Namespace) -> Setting:
    if not options.data.is_file():
        _refuse(
            f"{options.data}: no such file; put MoleculeNet's delaney-processed.csv there, "
            "or name it with --data"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if options.cpus > (cores or 1):
        _refuse(f"--cpus {options.cpus}: this machine has {cores}; take as many or fewer")
    return Setting(
        str(options.data.resolve()),
        options.trials,
        options.epochs,
        options.cpus,
        tuple(options.members),
        options.trains,
    )


def _refuse(problem: str) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(2)


def possible(asked: Sequence[str], peer: Path) -> list[str]:
    if not any(side in PEER_SIDES for side in asked) or _is_whole(peer):
        return list(asked)
    print(f"{peer}: no Chemprop with hpopt there, so {', '.join(PEER_SIDES)} are left out")
    return [side for side in asked if side not in PEER_SIDES]


def _is_whole(peer: Path) -> bool:
    """Whether an environment has all that the sides of Chemprop need."""
    command = [str(peer / "bin" / "python"), "-c", "import chemprop, hyperopt, ray.tune"]
    return Path(command[0]).exists() and subprocess.run(command, check=False).returncode == 0


# ----------------------------------------------------------------------------- one side


def measure_side(side: str, track: Track, limit_s: float) -> None:
    try:
        run, began, load, cost = _run(side, track, limit_s)
    except LeftOutError as reason:
        print(f"{side} {track.repeat}: left out: {reason}", flush=True)
        return
    figures, told = run.read(began), machine(track.peer)
    result = Result(side, track.repeat, track.setting, run.asked, cost, figures, load, told)
    write(result, track.out)
    (track.folder(side) / "cost.json").unlink()  # without its result the side is run again
    print(
        f"{side} {track.repeat}: {figures.finished} of {run.asked}, {figures.failed} failed, "
        f"{cost.wall_s:.0f} s, {cost.cpu_s:.0f} CPU s, exit code {cost.code}",
        flush=True,
    )


def _run(side: str, track: Track, limit_s: float) -> tuple[Run, float, float, Cost]:
    """Run a side, unless that was done and only its figures could not be read.

    Returns
    -------
    tuple
        The run, when it began, the load of the machine then, and what it has cost.
    """
    folder = track.folder(side)
    if done := track.measured(side):
        began, load, stored = json.loads(done.read_text())
        return RUNS[side](track), began, load, Cost(**stored)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was ended
    folder.mkdir()
    run = RUNS[side](track)
    load, began = os.getloadavg()[1], time.time()
    with _Telling(f"{side} {track.repeat}", run):
        cost = measure(
            run.command,
            folder,
            folder / "log.txt",
            environment=os.environ | run.environment,
            timeout_s=limit_s,
        )
    (folder / "cost.json").write_text(json.dumps([began, load, asdict(cost)]))
    return run, began, load, cost


class _Telling:
    """Says every minute how far a run is."""

    def __init__(self, name: str, run: Run) -> None:
        self._name, self._run = name, run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _tell(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(TELL_EVERY_S):
            minutes = (time.monotonic() - began) / 60
            done = f"{self._run.count()} of {self._run.asked}"
            print(f"{self._name}: {done} after {minutes:.0f} min", flush=True)


# ----------------------------------------------------------------------------- the end


def _conclude(results: Sequence[Result], setting: Setting, out: Path, repeats: int) -> int:
    usual = setting == Setting(setting.data)
    last = HERE / "results.json"
    before = json.loads(last.read_text()) if last.exists() else {}
    judged = judge(results, usual=usual, before=before)
    # The tables beside this file are of all sides.
    full = usual and {result.side for result in results} == set(SIDES)
    place = HERE if full else out
    if full:
        best = before | {one.limit.name: one.best for one in judged if one.best is not None}
        last.write_text(json.dumps(best, indent=1) + "\n")
    (place / "RESULTS.md").write_text("\n".join(report(results, setting, judged)) + "\n")
    draw(results, place / "results.png")
    print(f"{place / 'RESULTS.md'}: {len(results)} results of {repeats} repeats")
    missed = [one for one in judged if one.verdict in ("MISSED", "WORSE")]
    for one in missed:
        before_it = "" if one.before is None else f"; before: {one.before:.3g}"
        print(f"{one.verdict}: {one.limit.name}; the limit is {one.limit.bound:.3g}{before_it}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
