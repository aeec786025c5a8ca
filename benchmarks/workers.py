"""What a worker costs: its memory, the start of a trial, the disk.

    python benchmarks/workers.py {memory,driver,start,disk} --file molecules.csv \\
        --target activity [--smiles smiles] [--molecules 100000] [--workers 4] [--repeats 3]

- ``memory``: private memory (pages that no other process has) of ``--workers`` workers in Ray, each
  with a fold of ``--molecules`` molecules, held against workers with a fold of a hundred. The
  molecules of the file are repeated as often as need be, and each training is of 1,000 of them.
- ``driver``: the most memory that featurising so many molecules takes, against what it leaves.
- ``start``: CPU seconds of a worker that is warm from being given a trial to its first batch.
- ``disk``: what a sweep of three trials of 27 epochs writes, and what is left of it.

``--features`` names molecule features, ``rdkit_2d`` for example. Molecules should be drug-like
for the first two. Exit code 1 says that a limit was missed.
"""

from __future__ import annotations

import argparse
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import yaml
from limits import Figure, exit_code
from processes import measure

MB = 1e6
FEW = 100
TRAINED, VALIDATED = 1_000, 250
MOST_MB, MOST_START_S, MOST_WRITTEN_MB = 150.0, 0.1, 40.0


def main() -> int:
    """Measure one thing, print it, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    return exit_code(PARTS[options.part](options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--file", type=Path, required=True, metavar="CSV")
    parser.add_argument("--target", required=True, metavar="COLUMN")
    parser.add_argument("--smiles", default="smiles", metavar="COLUMN")
    parser.add_argument("--features", default="none", metavar="NAMES")
    parser.add_argument("--molecules", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _loaded(options: argparse.Namespace) -> Any:
    from chemprop_hpo.configs.load import load_stored

    return load_stored(_settings(options, epochs=3))


def _settings(options: argparse.Namespace, epochs: int) -> dict[str, Any]:
    return {
        "data": {
            "file": str(options.file.absolute()),
            "smiles_col": options.smiles,
            "target_cols": [options.target],
        },
        "model": {
            "depth": 3,
            "message_hidden_dim": 300,
            "hidden_dim": 300,
            "molecule_features": options.features,
        },
        "optimization": {"batch_size": 64, "max_epochs": epochs},
        "scheduler": {"type": "none", "max_t": epochs},
        "mlflow": {"tracking": False},
    }


def _fold(options: argparse.Namespace, config: Any, size: int) -> Any:
    """Return a fold of so many molecules, few of which are trained on."""
    from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold, graph_featurizer
    from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
    from chemprop_hpo.hpo.chemistry.tables.data import read_fold
    from chemprop_hpo.hpo.plan import featurizers

    tables = read_fold(config)
    few = featurise_fold(tables, config, *featurizers(config))
    featurizer = graph_featurizer(config.model.atom_features)
    graphs = [featurizer(m) for part in (tables.train, tables.validation) for m in part.molecules]
    random = np.random.default_rng(0)
    rows, some = random.integers(0, len(graphs), size), random.permutation(size)
    n_train = min(TRAINED, size // 2)
    return replace(
        few,
        graphs={config.model.atom_features: PackedGraphs.pack(graphs[row] for row in rows)},
        vectors={name: values[rows] for name, values in few.vectors.items()},
        targets=few.targets[rows],
        train=some[:n_train],
        validation=some[n_train : n_train + VALIDATED],
    )


# ------------------------------------------------------------------------ memory


class _Watched(threading.Thread):
    """Notes the most private memory that this process has, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._process = psutil.Process()

    def now(self) -> int:
        return int(self._process.memory_full_info().uss)

    def run(self) -> None:
        while True:
            self.most = max(self.most, self.now())
            time.sleep(0.05)


def _memory(options: argparse.Namespace) -> list[Figure]:
    from chemprop_hpo.hpo.trial.cluster import connected

    config = _loaded(options).config
    print("| molecules | fold, MB | imports, MB | most in training | more than imports, of each |")
    print("|---|---|---|---|---|")
    most_of_all = 0.0
    with connected(None):
        for size in (FEW, options.molecules):
            fold = _fold(options, config, size)
            found = _of_workers(config, fold, options.workers)
            imports, most = (statistics.mean(figures) / MB for figures in zip(*found, strict=True))
            more = sorted((after - before) / MB for before, after in found)
            most_of_all = max(most_of_all, more[-1])
            shown = " | ".join(f"{figure:.0f}" for figure in (fold.nbytes / MB, imports, most))
            each = ", ".join(f"{figure:.0f}" for figure in more)
            print(f"| {size:,} | {shown} | {each} |", flush=True)
    return [Figure("MB of a worker beyond its imports", most_of_all, MOST_MB)]


def _of_workers(config: Any, fold: Any, workers: int) -> list[tuple[int, int]]:
    """Return, of each worker, private memory before it has the fold and the most afterwards."""
    import ray

    from chemprop_hpo.hpo.chemistry.training.train import train
    from chemprop_hpo.hpo.trial.trainable import TrialJob

    with tempfile.TemporaryDirectory() as folder:
        job, shared = TrialJob.of(config, Path(folder), train), ray.put(fold)
        kind = ray.remote(_Measured).options(num_cpus=0.1)
        made = [kind.remote(job, f"trial{number}") for number in range(workers)]
        return ray.get([each.train.remote([shared]) for each in made])


class _Measured:
    """A worker that watches its own memory; Tune's part of it is left out."""

    def __init__(self, job: Any, folder: str) -> None:
        self._job = job
        self._trial = _trial(folder)

    def train(self, shared: list[Any]) -> tuple[int, int]:
        import ray

        watched = _Watched()
        before = watched.now()
        watched.start()
        worker = _worker(self._job, self._trial, ray.get(shared[0]))
        for _ in range(3):
            if (error := worker.report().error) is not None:
                raise RuntimeError(error)
        return before, watched.most


def _trial(folder: str) -> dict[str, Any]:
    return {"params": {}, "seed": 1, "reached": 0, "alone": False, "folder": folder}


def _worker(job: Any, trial: dict[str, Any], fold: Any) -> Any:
    from chemprop_hpo.hpo.search.reports import REPORT
    from chemprop_hpo.hpo.trial.trainable import TrialTrainable

    class Worker(TrialTrainable):
        def __init__(self) -> None:
            self.setup(trial, job, fold)

        def report(self) -> Any:
            return self.step()[REPORT]

    return Worker()


def _driver(options: argparse.Namespace) -> list[Figure]:
    from chemprop_hpo.hpo.chemistry.features.featurising import featurise
    from chemprop_hpo.hpo.chemistry.tables.data import read_fold

    config = _loaded(options).config
    known = read_fold(config).train.molecules
    molecules = [known[i % len(known)] for i in range(options.molecules)]
    featurise(known[:FEW], config.model.atom_features)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    packed = featurise(molecules, config.model.atom_features)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"{options.molecules:,} molecules: {packed.nbytes / MB:.0f} MB of graphs, ", end="")
    print(f"{most / MB:.0f} MB at most on the way ({most / packed.nbytes:.2f} times as much)")
    return []


# ------------------------------------------------------------------------ time


class _FirstBatchError(Exception):
    pass


class _Times(NamedTuple):
    cpu: float
    wall: float

    @classmethod
    def now(cls) -> _Times:
        return cls(time.process_time(), time.monotonic())

    def since(self, before: _Times) -> _Times:
        return _Times(self.cpu - before.cpu, self.wall - before.wall)


def _start(options: argparse.Namespace) -> list[Figure]:
    from chemprop_hpo.hpo.chemistry.training.fitting import Fitting
    from chemprop_hpo.hpo.chemistry.training.train import train
    from chemprop_hpo.hpo.trial.trainable import TrialJob

    reached: list[_Times] = []
    train_on, is_timed = Fitting.training_step, True

    def training_step(self: Fitting, batch: Any, index: int) -> Any:
        if not is_timed:
            return train_on(self, batch, index)
        reached.append(_Times.now())
        raise _FirstBatchError

    config = _loaded(options).config
    fold = _fold(options, config, options.molecules)
    Fitting.training_step = training_step
    with tempfile.TemporaryDirectory() as folder:
        trial = _trial("trial")
        worker = _worker(TrialJob.of(config, Path(folder), train), trial, fold)
        worker.step()
        spent: dict[str, list[_Times]] = {"ended": [], "was stopped": []}
        for how in spent:
            for _ in range(options.repeats * 5):
                if how == "was stopped":
                    is_timed = False
                    worker.reset_config(trial)
                    worker.step()  # one epoch, as ASHA stops a trial
                    is_timed = True
                began = _Times.now()
                worker.reset_config(trial)
                worker.step()
                spent[how].append(reached[-1].since(began))
    figures = []
    for how, times in spent.items():
        for kind, seconds in zip(_Times._fields, zip(*times, strict=True), strict=True):
            name = f"{kind} seconds to the first batch, where the trial before {how}"
            middle = statistics.median(seconds)
            print(f"{options.molecules:,} molecules: {name}: ", end="")
            print(f"{middle:.3f} ({min(seconds):.3f} to {max(seconds):.3f})")
            figures.append(Figure(name, middle, MOST_START_S))
    return figures


# ------------------------------------------------------------------------ disk


def _disk(options: argparse.Namespace) -> list[Figure]:
    trials = 3
    with tempfile.TemporaryDirectory() as folder:
        place, study = Path(folder), Path(folder, "study")
        sweep = _settings(options, epochs=27) | {
            "search_space": {"dropout": {"type": "uniform", "low": 0.0, "high": 0.4}},
            "num_samples": trials,
            "transfer_learning": {"top_k": 1},
            "resources": {"max_concurrent_trials": 1},
            "study": {"storage": f"sqlite:///{place}/studies.db", "folder": str(study)},
        }
        (place / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        command = [str(Path(sys.executable).with_name("chemprop-hpo")), "sweep", "sweep.yaml"]
        cost = measure(command, place, place / "log")
        if cost.code:
            sys.exit((place / "log").read_text())
        left = [path for path in study.rglob("*") if path.is_file()]
        names = ", ".join(sorted(path.relative_to(place).as_posix() for path in left))
        size = sum(path.stat().st_size for path in left) / MB
    print(f"{cost.written_mb / trials:.0f} MB written a trial by all processes; {size:.1f} MB left")
    print(f"left: {names}")
    return [Figure("MB written a trial", cost.written_mb / trials, MOST_WRITTEN_MB)]


PARTS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "memory": _memory,
    "driver": _driver,
    "start": _start,
    "disk": _disk,
}

if __name__ == "__main__":
    sys.exit(main())
