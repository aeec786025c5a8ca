"""What a GPU gives: an epoch in four ways, and several trials that share one GPU.

    python benchmarks/gpu.py --file delaney-processed.csv \\
        --target "measured log solubility in mols per litre" [--trials 1 2 4 8] [--epochs 9]

The first table is of one process and batches that lie on the GPU already: stock Chemprop, this
package's sums, the same with bfloat16 (``torch.autocast``), and the same with ``torch.compile``.
The second is of 1, 2, 4 and 8
processes that each train a whole trial at the same time, as a sweep with
``resources.gpus_per_trial`` of 1, 0.5, 0.25 and 0.125 does: epochs a second of all together, and
the GPU's memory for each. Wall time, since a GPU has no other; median of ``--repeats``. What
fails, of memory for example, has its error in place of figures. With ``--device cpu`` it only
shows that it runs.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from chemprop.data import TrainingBatch
from chemprop.models import MPNN
from training import Task, options_of, processor, task_of

from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.training.epochs import EpochReport, TrainingSpec
from chemprop_hpo.hpo.chemistry.training.optimizers import build_optimizer, build_schedule
from chemprop_hpo.hpo.chemistry.training.train import train

MB = 1e6
START_S = 300.0
EVERY_S = 0.05


def main() -> None:
    """Train, and print both tables."""
    options = _options()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; --device cpu tries the program out")
    name = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    print(f"torch {torch.__version__}, {name}\n")
    for line in itertools.chain(_ways(options), [""], _shared(options)):
        print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4, 8])
    return parser.parse_args()


# ----------------------------------------------------------------------------- one process


def _ways(options: argparse.Namespace) -> Iterator[str]:
    task = task_of(options, threads=1)
    own = [_on(batch, options.device) for batch in task.own_batches()]
    stock = [_on(batch, options.device) for batch in task.stock_batches()]
    bf16 = torch.autocast(options.device, torch.bfloat16)
    ways: dict[str, tuple[Callable[[], MPNN], Sequence[TrainingBatch], Any]] = {
        "stock Chemprop": (task.model, stock, nullcontext()),
        "this package's sums": (lambda: quicken(task.model()), own, nullcontext()),
        "with bfloat16": (lambda: quicken(task.model()), own, bf16),
        "with torch.compile": (lambda: _compiled(quicken(task.model())), own, nullcontext()),
    }
    yield "| way | seconds an epoch | of stock | training loss of the last epoch |"
    yield "|---|---|---|---|"
    reference = None
    for name, way in ways.items():
        try:
            seconds, loss = _epochs(options, task, *way)
        except Exception as error:  # an experiment that does not run is a result
            text = str(error) or type(error).__name__
            yield f"| {name} | {text.splitlines()[0]} | | |"
            continue
        reference = reference or seconds
        yield f"| {name} | {seconds:.3f} | {seconds / reference:.2f} | {loss:.4f} |"


def _on(batch: TrainingBatch, device: str) -> TrainingBatch:
    batch.bmg.to(device)
    vectors = None if batch.X_d is None else batch.X_d.to(device)
    return batch._replace(X_d=vectors, Y=batch.Y.to(device))


def _compiled(mpnn: MPNN) -> MPNN:
    mpnn.message_passing.compile(dynamic=True)
    return mpnn


def _epochs(
    options: argparse.Namespace,
    task: Task,
    make: Callable[[], MPNN],
    batches: Sequence[TrainingBatch],
    precision: AbstractContextManager[None],
) -> tuple[float, float]:
    """Return the median time of an epoch after the first, and the last epoch's mean loss."""
    mpnn = make().to(options.device).train()
    optimization = task.config.optimization
    optimizer = build_optimizer(mpnn, optimization)
    schedule = build_schedule(optimizer, optimization, task.epochs, len(batches))
    ends = []
    for _ in range(task.epochs):
        losses = []
        for batch in batches:
            optimizer.zero_grad()
            with precision:
                outputs = mpnn.predictor.train_step(mpnn.fingerprint(batch.bmg, None, batch.X_d))
                loss = torch.nn.functional.mse_loss(outputs.float(), batch.Y)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())  # waits for the GPU
        ends.append(time.perf_counter())
    lasted = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(lasted), mean


# ----------------------------------------------------------------------------- many on one GPU


def _shared(options: argparse.Namespace) -> Iterator[str]:
    yield "| trials at once | epochs a second in all | of one trial alone | GPU memory each, MB |"
    yield "|---|---|---|---|"
    alone = None
    for count in options.trials:
        try:
            runs = [_at_once(options, count) for _ in range(options.repeats)]
        except RuntimeError as error:
            yield f"| {count} | {error} | | |"
            continue
        rate = statistics.median(rate for rate, _ in runs)
        alone = alone or rate / count
        memory = statistics.median(memory for _, memory in runs) / count / MB
        yield f"| {count} | {rate:.2f} | {rate / alone:.2f} | {memory:,.0f} |"


def _at_once(options: argparse.Namespace, count: int) -> tuple[float, float]:
    """Return epochs a second of so many trials at once, and the most memory of the GPU, bytes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count, timeout=START_S)
    with context.Manager() as manager:
        spans: Any = manager.list()
        before = _used(options.device)
        jobs = [
            context.Process(target=_trial, args=(options, barrier, spans)) for _ in range(count)
        ]
        for job in jobs:
            job.start()
        most = before
        while any(job.is_alive() for job in jobs):
            most = max(most, _used(options.device))
            if any(job.exitcode for job in jobs):
                barrier.abort()  # where one dies, of memory for example, the others end too
            time.sleep(EVERY_S)
        if len(spans) < count:
            raise RuntimeError(f"{count - len(spans)} of {count} trials at once failed")
        lasted = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return count * (options.epochs - 1) / lasted, most - before


def _used(device: str) -> int:
    if device == "cpu":
        return 0
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def _trial(options: argparse.Namespace, barrier: Any, spans: Any) -> None:
    task = task_of(options, threads=1)
    config = task.config
    torch.zeros(1, device=options.device)  # what every process pays once is not counted
    spec = TrainingSpec(
        config.model, config.optimization, task.epochs, seed=0, device=options.device
    )
    ends = []

    def on_epoch(report: EpochReport, progress: object) -> bool:
        if not ends:
            barrier.wait()  # the first epoch pays for what is set up
        ends.append(time.time())
        return True

    train(spec, task.fold, on_epoch)
    spans.append((ends[0], ends[-1]))


if __name__ == "__main__":
    main()
