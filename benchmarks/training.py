"""What an epoch and a trial cost, held against stock Chemprop and against a bare loop.

    python benchmarks/training.py --file delaney-processed.csv \\
        --target "measured log solubility in mols per litre" [--threads 1 2] [--repeats 5]

Four ways to train the same model (depth 3, hidden sizes 300, batches of 64) on the same molecules,
one after the other, again and again, so that a machine that becomes slower does so for all:

- ``stock``: Chemprop's classes, its optimiser and its own batches, collated once; the gradients and
  nothing else.
- ``bare``: the same loop with this package's sums and batches, collated once. The floor.
- ``validated``: ``bare``, and after each epoch one pass over the validation molecules.
- ``trial``: `train` with all that a trial has: reports, figures, a checkpoint every ten seconds,
  the best model and a last checkpoint at the end. What Ray does for it is not in it.

Of each there is the CPU time of an epoch, and of each pair the ratio within one repeat: median,
least and most; with several threads the wall time too, since a thread that waits takes CPU time.
Ratios of ``trial`` are of whole trainings of ``--epochs`` epochs, its last evaluation included.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from chemprop.data import MoleculeDatapoint, MoleculeDataset, TrainingBatch
from chemprop.data.collate import collate_batch
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.models import MPNN
from limits import Figure, exit_code

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.batches import Batches, epoch_rows
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import build_model
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.epochs import EpochReport, TrainingSpec
from chemprop_hpo.hpo.chemistry.training.fitting import Progress, predict
from chemprop_hpo.hpo.chemistry.training.optimizers import build_optimizer, build_schedule
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.plan import featurizers

CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True)
class Task:
    """What all ways train."""

    config: SweepConfig
    fold: Fold
    smiles: Sequence[str]
    epochs: int
    threads: int

    def model(self) -> MPNN:
        """Return a model with fresh weights, as stock Chemprop has it."""
        torch.manual_seed(0)
        return build_model(self.config.model, self.config.optimization, self.fold)

    def order(self) -> list[np.ndarray]:
        """Return the rows of each batch."""
        return epoch_rows(self.fold.train, self.config.optimization.batch_size, 0, 1)

    def own_batches(self) -> list[TrainingBatch]:
        """Return the batches of an epoch as this package collates them."""
        batches = Batches(self.fold, self.config.model)
        return [batches.cut(rows) for rows in self.order()]

    def stock_batches(self) -> list[TrainingBatch]:
        """Return the same batches as Chemprop collates them."""
        labels = Batches(self.fold, self.config.model)
        featurizer = SimpleMoleculeMolGraphFeaturizer()
        found = []
        for rows in self.order():
            ys = labels.cut(rows).Y.numpy()
            points = [
                MoleculeDatapoint.from_smi(self.smiles[row], y)
                for row, y in zip(rows, ys, strict=True)
            ]
            data = MoleculeDataset(points, featurizer)
            found.append(collate_batch([data[i] for i in range(len(data))]))
        return found


class Spent(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float


def main() -> int:
    """Train, print the table, and return the exit code."""
    options, figures = _options(), []
    print(f"torch {torch.__version__}, {platform.machine()}, {processor()}\n")
    print("| threads | what | CPU s an epoch | CPU time, ratio (range) | wall s | ratio (range) |")
    print("|---|---|---|---|---|---|")
    for threads in options.threads:
        torch.set_num_threads(threads)
        found = _repeat(task_of(options, threads), options.repeats)
        for line in _lines(threads, found):
            print(line, flush=True)
        figures += _figures(threads, found)
    return exit_code(figures)


def _options() -> argparse.Namespace:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


def options_of(description: str) -> argparse.ArgumentParser:
    """Return a parser of what is trained, and how long."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--file", type=Path, required=True, metavar="CSV")
    parser.add_argument("--target", required=True, metavar="COLUMN")
    parser.add_argument("--smiles", default="smiles", metavar="COLUMN")
    parser.add_argument("--epochs", type=int, default=27, help="of a training")
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def task_of(options: argparse.Namespace, threads: int) -> Task:
    """Read the molecules that all ways train."""
    config = load_stored(
        {
            "data": {
                "file": str(options.file.absolute()),
                "smiles_col": options.smiles,
                "target_cols": [options.target],
            },
            "model": {"depth": 3, "message_hidden_dim": 300, "hidden_dim": 300},
            "optimization": {"batch_size": 64, "max_epochs": options.epochs},
            "scheduler": {"type": "none", "max_t": options.epochs},
            "mlflow": {"tracking": False},
        }
    ).config
    tables = read_fold(config)
    fold = featurise_fold(tables, config, *featurizers(config))
    # A fold's molecules stand in this order.
    smiles = [one for part in tables.parts.values() for one in part.smiles]
    return Task(config, fold, smiles, options.epochs, threads)


def _repeat(task: Task, repeats: int) -> list[dict[str, Spent]]:
    stock, own = task.stock_batches(), task.own_batches()
    ways: dict[str, Callable[[], object]] = {
        "stock": lambda: loop(task, task.model(), stock, is_stock=True),
        "bare": lambda: loop(task, quicken(task.model()), own),
        "validated": lambda: loop(task, quicken(task.model()), own, validated=True),
        "trial": lambda: trial(task),
    }
    ways["bare"]()  # the first of all pays for what torch sets up
    return [{name: spent(way, task.epochs) for name, way in ways.items()} for _ in range(repeats)]


def spent(way: Callable[[], object], epochs: int) -> Spent:
    """Return the seconds of an epoch of a training."""
    cpu, wall = time.process_time(), time.monotonic()
    way()
    return Spent((time.process_time() - cpu) / epochs, (time.monotonic() - wall) / epochs)


def loop(
    task: Task,
    mpnn: MPNN,
    batches: Sequence[TrainingBatch],
    *,
    validated: bool = False,
    is_stock: bool = False,
) -> None:
    """Train on batches that are there, and nothing else; perhaps with a validation."""
    optimization = task.config.optimization
    # As `chemprop.models.MPNN.configure_optimizers` has it.
    stock = torch.optim.Adam(mpnn.parameters(), optimization.learning_rates[0])
    optimizer = stock if is_stock else build_optimizer(mpnn, optimization)
    schedule = build_schedule(optimizer, optimization, task.epochs, len(batches))
    reader = Batches(task.fold, task.config.model)
    for _ in range(task.epochs):
        mpnn.train()
        for batch in batches:
            optimizer.zero_grad()
            outputs = mpnn.predictor.train_step(mpnn.fingerprint(batch.bmg, None, batch.X_d))
            torch.nn.functional.mse_loss(outputs, batch.Y).backward()
            optimizer.step()
            schedule.step()
        if validated:
            predict(mpnn, reader, task.fold.validation)


def trial(task: Task) -> None:
    """Train with all that a trial has."""
    saved_at = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:

        def on_epoch(report: EpochReport, progress: Progress) -> bool:
            nonlocal saved_at
            if report.stop_reason is not None:
                progress.save_best(Path(folder, "best.pt"))
            if report.stop_reason is not None or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                progress.save_checkpoint(Path(folder, "checkpoint.ckpt"))
                saved_at = time.monotonic()
            return True

        config = task.config
        spec = TrainingSpec(
            config.model, config.optimization, task.epochs, seed=0, threads=task.threads
        )
        train(spec, task.fold, on_epoch)


PAIRS = (("bare", "stock"), ("trial", "validated"), ("trial", "bare"))
LIMITS = {
    ("bare", "stock"): {1: 0.48, 2: 0.40},
    ("trial", "validated"): {1: 1.12, 2: 1.12},
}
"""By pair, the most that the ratio of CPU times may be with so many threads."""


def _lines(threads: int, found: Sequence[dict[str, Spent]]) -> list[str]:
    lines = []
    for name in found[0]:
        cpu, wall = (statistics.median(column) for column in zip(*_of(name, found), strict=True))
        lines.append(f"| {threads} | {name} | {cpu:.3f} | | {wall:.3f} | |")
    for one, other in PAIRS:
        pairs = zip(_of(one, found), _of(other, found), strict=True)
        ratios = [(mine.cpu / its.cpu, mine.wall / its.wall) for mine, its in pairs]
        cpu_ratio, wall_ratio = (_shown(column) for column in zip(*ratios, strict=True))
        lines.append(f"| {threads} | {one} / {other} | | {cpu_ratio} | | {wall_ratio} |")
    return lines


def _figures(threads: int, found: Sequence[dict[str, Spent]]) -> Iterator[Figure]:
    for (one, other), limits in LIMITS.items():
        pairs = zip(_of(one, found), _of(other, found), strict=True)
        ratio = statistics.median(mine.cpu / its.cpu for mine, its in pairs)
        if limit := limits.get(threads):
            yield Figure(f"{one} / {other}, {threads} threads", ratio, limit)


def _of(name: str, found: Sequence[dict[str, Spent]]) -> list[Spent]:
    return [times[name] for times in found]


def _shown(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def processor() -> str:
    """Name the processor and how many there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
