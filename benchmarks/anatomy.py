"""Where a trial's time goes, against stock Chemprop: a table and a picture.

    python benchmarks/anatomy.py --file delaney-processed.csv \\
        --target "measured log solubility in mols per litre" [--picture docs/performance.png]

The same model is trained on one thread as `training.py` has it: by stock Chemprop's classes, and
as a trial of this package, whose whole work is counted: batches, validation, reports,
checkpoints. CPU seconds of an epoch are measured without a profiler. What the gradients' part of
them went into is the share of each kind of operation in a profile of ``torch.profiler``: the
operations are added up by name, each without those that it calls; finding out which bonds and
atoms of a batch are alike, which numpy does, is marked for the profile.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch.profiler import ProfilerActivity, profile, record_function
from training import Task, loop, options_of, spent, task_of, trial

from chemprop_hpo.hpo.chemistry.models.alike import Alike
from chemprop_hpo.hpo.chemistry.models.bond_messages import _Bonds
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.row_sums import Lists

MARK = "finding what is alike"
MARKED: Mapping[type, Sequence[str]] = {
    Alike: ["by", "by_row"],
    _Bonds: ["of", "codes_at_atoms", "codes_of_messages"],
    Lists: ["of", "chosen", "without", "renamed", "turned"],
}
# The first whose name is part of an operation's has it.
KINDS = {
    "bonds and atoms that are alike": (MARK,),
    "matrix products": ("mm", "linear"),
    "sums over bonds and atoms": ("scatter", "index", "gather", "embedding_bag", "segment"),
    "optimiser": ("adam", "optimizer", "foreach"),
}
OTHER = "all else in torch"
REST = ("validation", "batches, reports, checkpoints")


def main() -> None:
    """Measure, print the table, and draw."""
    options = _options()
    torch.set_num_threads(1)
    task = task_of(options, threads=1)
    stock, ours = _anatomy(task, options.repeats)
    names = [*KINDS, OTHER, *REST]
    print("| CPU seconds an epoch | stock Chemprop, gradients only | a trial of this package |")
    print("|---|---|---|")
    for name in names:
        print(f"| {name} | {stock.get(name, 0.0):.3f} | {ours.get(name, 0.0):.3f} |")
    print(f"| all | {sum(stock.values()):.3f} | {sum(ours.values()):.3f} |")
    if options.picture:
        _draw(names, {"stock Chemprop,\ngradients only": stock, "a trial here": ours}, options)


def _options() -> argparse.Namespace:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, metavar="PNG")
    return parser.parse_args()


def _anatomy(task: Task, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    stock, own = task.stock_batches(), task.own_batches()
    ways: dict[str, Callable[[], object]] = {
        "stock": lambda: loop(task, task.model(), stock, is_stock=True),
        "bare": lambda: loop(task, quicken(task.model()), own),
        "validated": lambda: loop(task, quicken(task.model()), own, validated=True),
        "trial": lambda: trial(task),
    }
    ways["bare"]()  # the first of all pays for what torch sets up
    found = [
        {name: spent(way, task.epochs).cpu for name, way in ways.items()} for _ in range(repeats)
    ]
    seconds = {name: statistics.median(times[name] for times in found) for name in ways}
    ours = _parts(ways["bare"], seconds["bare"])
    ours[REST[0]] = seconds["validated"] - seconds["bare"]
    ours[REST[1]] = seconds["trial"] - seconds["validated"]
    return _parts(ways["stock"], seconds["stock"]), ours


def _parts(way: Callable[[], object], seconds: float) -> dict[str, float]:
    """Divide the CPU seconds of an epoch among kinds of operations, as a profile has them."""
    with _marked(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        way()
    times = dict.fromkeys([*KINDS, OTHER], 0.0)
    for operation in profiled.key_averages():
        times[_kind(operation.key.lower())] += operation.self_cpu_time_total
    whole = sum(times.values())
    return {kind: seconds * time / whole for kind, time in times.items()}


@contextmanager
def _marked() -> Iterator[None]:
    """Give what numpy does a name in profiles."""
    places = [(owner, name) for owner, names in MARKED.items() for name in names]
    before = [vars(owner)[name] for owner, name in places]
    for (owner, name), method in zip(places, before, strict=True):
        setattr(owner, name, _with_mark(method))
    try:
        yield
    finally:
        for (owner, name), method in zip(places, before, strict=True):
            setattr(owner, name, method)


def _with_mark(method: Any) -> Any:
    if isinstance(method, classmethod):
        return classmethod(_with_mark(method.__func__))

    @functools.wraps(method)
    def marked(*arguments: Any, **named: Any) -> Any:
        with record_function(MARK):
            return method(*arguments, **named)

    return marked


def _kind(operation: str) -> str:
    kinds = (kind for kind, marks in KINDS.items() if any(mark in operation for mark in marks))
    return next(kinds, OTHER)


def _draw(
    names: Sequence[str], bars: Mapping[str, Mapping[str, float]], options: argparse.Namespace
) -> None:
    figure, axes = plt.subplots(figsize=(8, 2.9), layout="constrained")
    for place, (_bar, parts) in enumerate(reversed(bars.items())):
        left = 0.0
        for number, name in enumerate(names):
            width = parts.get(name, 0.0)
            label = name if place == 0 else None
            axes.barh(place, width, left=left, color=f"C{number}", label=label)
            left += width
        axes.text(left, place, f" {left:.2f} s", va="center")
    axes.set_yticks(range(len(bars)), list(reversed(bars)))
    axes.set_xlabel("CPU seconds an epoch, one thread")
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(options.picture, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
