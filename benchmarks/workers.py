"""What a worker costs: its memory, the start of a trial, the way to the first epoch, the disk.

    python benchmarks/workers.py {memory,driver,start,first-epoch,disk} --file molecules.csv \\
        --target activity [--smiles smiles] [--molecules 100000] [--workers 4] [--repeats 3]

- ``memory``: private memory (pages that no other process has) of ``--workers`` workers in Ray, each
  with a fold of ``--molecules`` molecules, held against workers with a fold of a hundred. The
  molecules of the file are repeated as often as need be, and each training is of 1,000 of them.
- ``driver``: the most memory that featurising so many molecules takes, against what it leaves.
- ``start``: CPU seconds of a worker that is warm from being given a trial to its first batch.
- ``first-epoch``: wall and CPU seconds from the start of a process to the first report of a sweep
  of one trial, against those of one that only imports the libraries, in turn.
- ``disk``: what all processes of a sweep of three trials write, and what is left of it.

``--features`` names molecule features, ``rdkit_2d`` for example. Molecules should be drug-like
for the first two.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from processes import measure

MB = 1e6
FEW = 100
TRAINED, VALIDATED = 1_000, 250
BARE = "import ray.tune, optuna, torch, lightning, chemprop"
SAID = "first epoch after"


def main() -> None:
    """Measure one thing, and print it."""
    options = _options()
    PARTS[options.part](options)


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
    parser.add_argument("--out", type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _loaded(options: argparse.Namespace, **sections: Any) -> Any:
    from chemprop_hpo.configs.load import load_stored

    return load_stored(
        {
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
            "optimization": {"batch_size": 64, "max_epochs": 3},
            "scheduler": {"type": "none", "max_t": 3},
            "mlflow": {"tracking": False},
            **sections,
        }
    )


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


def _memory(options: argparse.Namespace) -> None:
    from chemprop_hpo.hpo.trial.cluster import connected

    config = _loaded(options).config
    print("| molecules | fold, MB | imports, MB | most in training, MB | more than imports, MB |")
    print("|---|---|---|---|---|")
    with connected(None):
        for size in (FEW, options.molecules):
            fold = _fold(options, config, size)
            found = _of_workers(config, fold, options.workers)
            imports, most = (statistics.mean(figures) / MB for figures in zip(*found, strict=True))
            figures = (fold.nbytes / MB, imports, most, most - imports)
            shown = " | ".join(f"{figure:.0f}" for figure in figures)
            print(f"| {size:,} | {shown} |", flush=True)


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
        self._trial = {"params": {}, "seed": 1, "reached": 0, "folder": folder}

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


def _worker(job: Any, trial: dict[str, Any], fold: Any) -> Any:
    from chemprop_hpo.hpo.search.reports import REPORT
    from chemprop_hpo.hpo.trial.trainable import TrialTrainable

    class Worker(TrialTrainable):
        def __init__(self) -> None:
            self.setup(trial, job, fold)

        def report(self) -> Any:
            return self.step()[REPORT]

    return Worker()


def _driver(options: argparse.Namespace) -> None:
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


# ------------------------------------------------------------------------ time


class _FirstBatchError(Exception):
    pass


def _start(options: argparse.Namespace) -> None:
    from chemprop_hpo.hpo.chemistry.training.fitting import Fitting
    from chemprop_hpo.hpo.chemistry.training.train import train
    from chemprop_hpo.hpo.trial.trainable import TrialJob

    reached: list[float] = []

    def training_step(self: Fitting, batch: Any, _: int) -> None:
        reached.append(time.process_time())
        raise _FirstBatchError

    config = _loaded(options).config
    fold = _fold(options, config, options.molecules)
    Fitting.training_step = training_step  # type: ignore[method-assign,assignment]
    with tempfile.TemporaryDirectory() as folder:
        trial = {"params": {}, "seed": 1, "reached": 0, "folder": "trial"}
        worker = _worker(TrialJob.of(config, Path(folder), train), trial, fold)
        worker.step()
        spent = []
        for _ in range(options.repeats * 5):
            began = time.process_time()
            worker.reset_config(trial)
            worker.step()
            spent.append(reached[-1] - began)
    print(f"{options.molecules:,} molecules: CPU seconds to the first batch: ", end="")
    print(f"{statistics.median(spent):.3f} ({min(spent):.3f} to {max(spent):.3f})")


def _first_epoch(options: argparse.Namespace) -> None:
    ours = [sys.executable, __file__, "one-sweep", *_same(options, "--workers", "1")]
    rows = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            bare = measure([sys.executable, "-c", BARE], Path(folder), log)
            sweep = measure([*ours, "--out", folder], Path(folder), log)
            first = float(log.read_text().partition(SAID)[2].split()[0])
        rows.append((bare.wall_s, bare.cpu_s, first, sweep.cpu_s))
    print("| | median | least | most |\n|---|---|---|---|")
    _line("imports alone, s", [row[0] for row in rows])
    _line("to the first epoch, s", [row[2] for row in rows])
    _line("ratio", [row[2] / row[0] for row in rows])
    _line("imports alone, CPU-s", [row[1] for row in rows])
    _line("all processes to the end of the sweep, CPU-s", [row[3] for row in rows])
    _line("ratio", [row[3] / row[1] for row in rows])


def _line(what: str, figures: list[float]) -> None:
    found = (statistics.median(figures), min(figures), max(figures))
    print(f"| {what} | {' | '.join(f'{figure:.2f}' for figure in found)} |")


def _same(options: argparse.Namespace, *more: str) -> list[str]:
    given = ["--file", str(options.file.absolute()), "--target", options.target]
    return [*given, "--smiles", options.smiles, "--features", options.features, *more]


def _one_sweep(options: argparse.Namespace) -> None:
    """Run a sweep of so many trials as there are workers, of one epoch: what others measure."""
    _sweep(options, trials=options.workers, epochs=1)


def _sweep(options: argparse.Namespace, trials: int, epochs: int) -> None:
    began = psutil.Process().create_time()
    from chemprop_hpo.hpo.sweep import start_sweep

    class FirstEpoch:
        def __init__(self) -> None:
            self.seen = False

        def epoch_ended(self, event: Any) -> None:
            if not self.seen:
                print(SAID, f"{time.time() - began:.2f}", "s", flush=True)
            self.seen = True

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *event: None

    loaded = _loaded(
        options,
        optimization={"batch_size": 64, "max_epochs": epochs},
        scheduler={"type": "none", "max_t": epochs},
        search_space={"dropout": {"type": "uniform", "low": 0.0, "high": 0.4}},
        num_samples=trials,
        transfer_learning={"top_k": 1},
        resources={"max_concurrent_trials": 1},
        study={
            "name": "workers",
            "storage": f"sqlite:///{options.out}/studies.db",
            "folder": str(options.out / "study"),
        },
    )
    start_sweep(loaded, observers=[FirstEpoch()])


# ------------------------------------------------------------------------ disk


def _disk(options: argparse.Namespace) -> None:
    trials = 3
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, __file__, "long-sweep", *_same(options, "--workers", str(trials))]
        cost = measure([*ours, "--out", folder], Path(folder), Path(folder, "log"))
        if cost.code:
            sys.exit(Path(folder, "log").read_text())
        left = [path for path in Path(folder, "study").rglob("*") if path.is_file()]
        names = ", ".join(sorted(path.relative_to(folder).as_posix() for path in left))
        size = sum(path.stat().st_size for path in left) / MB
    print(f"{cost.written_mb / trials:.0f} MB written a trial by all processes; {size:.1f} MB left")
    print(f"left: {names}")


def _long_sweep(options: argparse.Namespace) -> None:
    """Run a sweep whose trials are of 27 epochs."""
    _sweep(options, trials=options.workers, epochs=27)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "memory": _memory,
    "driver": _driver,
    "start": _start,
    "first-epoch": _first_epoch,
    "disk": _disk,
    "one-sweep": _one_sweep,
    "long-sweep": _long_sweep,
}

if __name__ == "__main__":
    main()
