"""What a suggestion costs in a large study, and whether its quality is that of stock TPE.

    python benchmarks/suggestions.py cost [--trials 1000 10000 100000]
    python benchmarks/suggestions.py quality [--trials 6000] [--seeds 10] [--window 5000]

``cost`` fills a study of SQLite with trials of the conditional space of
``configs/sweeps/expansionrx.yaml``, which ended as ASHA ends them (two thirds after 3 epochs, two
ninths after 9), and opens it as ``resume`` does. It prints CPU seconds of opening it, of one
suggestion as a sweep asks for it (slot, trial, point, all written down), the same for stock
Optuna (``TPESampler`` with the same settings, ``study.ask`` and the same point), and of listing
the best ten; exit code 1 says that a limit was missed.

``quality`` minimises standard functions. Up to ``--window`` trials every suggestion is stock TPE's;
from there two studies go on from the same trials, one with all of them in view, as stock TPE has
them, one with the window. It prints how far the best value is from the minimum at the end, and
the trials after the window in their median: over the seeds median, least and most. Exit code 1
says that the window was worse in more seeds than chance allows (sign tests, 5 % for all together).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import scipy.stats
from limits import Figure, exit_code
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import insert

from chemprop_hpo.configs.load import LoadedSweep, load_sweep
from chemprop_hpo.configs.schema import SamplerConfig
from chemprop_hpo.hpo.events import Audience
from chemprop_hpo.hpo.search import tpe
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.book import TrialBook
from chemprop_hpo.hpo.search.past import PastTrials
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.search.source import TrialSource
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import StudyRecord, open_or_create_study, open_study
from chemprop_hpo.storage.tables import slots
from chemprop_hpo.storage.trials import best_trials, counts

SWEEP = Path(__file__).resolve().parent.parent / "configs" / "sweeps" / "expansionrx.yaml"
STUDY = "large"
SUGGESTIONS = 5


LIMITS = {(1_000, "later"): 0.1, (100_000, "later"): 0.3, (100_000, "opening"): 60.0}
"""CPU seconds by the number of trials and what is done."""


def main() -> int:
    """Measure, print a table, and return the exit code."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    options = _options()
    figures: list[Figure] = []
    lines = _costs(options.trials or [1000, 10_000, 100_000], figures)
    if options.what == "quality":
        lines = _qualities(options, figures)
    for line in lines:
        print(line, flush=True)
    return exit_code(figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cost", "quality"])
    parser.add_argument("--trials", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2, help="of quality")
    parser.add_argument("--window", type=int, default=tpe.WINDOW, help="trials TPE looks at")
    options = parser.parse_args()
    if options.what == "quality" and max(_trials_of_quality(options)) <= options.window:
        parser.error(f"--trials must be more than the window of {options.window}")
    return options


def _trials_of_quality(options: argparse.Namespace) -> list[int]:
    return options.trials or [6000]


# --------------------------------------------------------------------------- cost


class _Costs(NamedTuple):
    """CPU seconds of what a driver does with a study of so many trials."""

    opening: float
    """Until it may begin: the study, its orphans, and ASHA's rungs."""
    first: float
    later: float
    stock: float
    best: float


def _costs(sizes: Sequence[int], figures: list[Figure]) -> Iterator[str]:
    yield "| trials | opened | first suggestion | a later one | stock ask and suggest | best ten |"
    yield "|---|---|---|---|---|---|"
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/studies.db"
            loaded = _sweep(folder, url, size)
            fill(url, loaded, size)
            costs = _cost(url, loaded)
        for (at, what), limit in LIMITS.items():
            if at == size:
                figures.append(Figure(f"{what}, {size:,} trials", getattr(costs, what), limit))
        yield f"| {size:,} | " + " | ".join(f"{cost:.3f}" for cost in costs) + " |"


def _sweep(folder: str, url: str, size: int) -> LoadedSweep:
    wanted = [f"study.storage={url}", f"study.name={STUDY}", f"study.folder={folder}/study"]
    return load_sweep(SWEEP, [*wanted, f"num_samples={size + 1000}", "scheduler.max_t=27"])


def _cost(url: str, loaded: LoadedSweep) -> _Costs:
    config = loaded.config
    with open_database(url) as db:
        began = time.process_time()
        study = open_study(db, STUDY)
        study.sampler = build_sampler(config.sampler, config.seed, Space.of(config))
        driver = Driver.register(db, study)
        source = TrialSource(db, study, driver, config.num_samples, [])
        source.take_up_orphans()
        asha = Asha(config.scheduler, config.max_epochs, config.mode, lambda ray_id: None)
        asha.rebuild(PastTrials(study).look())
        opening = time.process_time() - began
        book = TrialBook(db, Audience([]))
        searcher = StudySearcher(config, source, book, 1000, lambda ray_id: False)
        spent = [_cpu_s(lambda i=i: searcher.suggest(f"{i}")) for i in range(SUGGESTIONS + 1)]
        best = _cpu_s(lambda: (best_trials(study, 10), counts(study)))
    with open_database(url) as db:
        stock = statistics.median(_stock(db, loaded))
    return _Costs(opening, spent[0], statistics.median(spent[1:]), stock, best)


def _stock(db: Database, loaded: LoadedSweep) -> list[float]:
    study, space = open_study(db, STUDY), Space.of(loaded.config)
    study.sampler = stock_sampler(0)
    counts(study)
    return [_cpu_s(lambda: space.suggest(study.ask())) for _ in range(SUGGESTIONS)][1:]


def stock_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Return Optuna's TPE with the settings that this package gives it."""
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=10
    )


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def fill(url: str, loaded: LoadedSweep, size: int) -> None:
    """Make a study with so many finished trials, drawn at random, in one transaction."""
    config = loaded.config
    record = StudyRecord(
        config=loaded.stored,
        metric=config.metric,
        mode=config.mode,
        space=Space.of(config).to_json(),
        space_hash="",
        data={},
        seed=config.seed,
        folder=str(config.study_folder),
    )
    with open_database(url) as db:
        study, _ = open_or_create_study(db, STUDY, record)
        study_id = db.study_id(study)
        rows = _rows(Space.of(config), study_id, size)
        with db.engine.begin() as connection:
            for model, values in rows.items():
                connection.execute(insert(model), values)


def _rows(space: Space, study_id: int, size: int) -> dict[Any, list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    texts: dict[str, str] = {}
    rows: dict[Any, list[dict[str, Any]]] = {
        model: []
        for model in (
            models.TrialModel,
            models.TrialParamModel,
            models.TrialValueModel,
            models.TrialUserAttributeModel,
            models.TrialIntermediateValueModel,
            slots,
        )
    }
    points = [drawing.ask() for _ in range(min(size, 1000))]
    drawn = [(space.suggest(trial), trial.distributions) for trial in points]
    for number in range(size):
        params, asked = drawn[number % len(drawn)]
        _add_trial(rows, study_id, number, float(rng.uniform(0.5, 1.5)))
        trial = number + 1
        for name, distribution in asked.items():
            text = texts.setdefault(repr(distribution), distribution_to_json(distribution))
            value = _jittered(distribution, params[name], rng)
            rows[models.TrialParamModel].append(
                {
                    "trial_id": trial,
                    "param_name": name,
                    "param_value": distribution.to_internal_repr(value),
                    "distribution_json": text,
                }
            )
    return rows


def _jittered(distribution: Any, value: Any, rng: np.random.Generator) -> Any:
    """Return another value where there are more than a few: no two trials are the same."""
    if not isinstance(distribution, optuna.distributions.FloatDistribution):
        return value
    return min(max(value * float(rng.uniform(0.9, 1.1)), distribution.low), distribution.high)


def _add_trial(
    rows: dict[Any, list[dict[str, Any]]], study_id: int, number: int, value: float
) -> None:
    trial, epochs = number + 1, (27 if number % 9 == 0 else 9 if number % 3 == 0 else 3)
    at = datetime(2026, 1, 1)
    rows[models.TrialModel].append(
        {
            "trial_id": trial,
            "number": number,
            "study_id": study_id,
            "state": TrialState.COMPLETE if epochs == 27 else TrialState.PRUNED,
            "_datetime_start_utc": at,
            "_datetime_complete_utc": at,
        }
    )
    rows[models.TrialValueModel].append(
        {"trial_id": trial, "objective": 0, "value": value, "value_type": "FINITE"}
    )
    attributes = {
        "driver": '"gone"',
        "slot": str(number),
        "ray_trial_id": f'"{number:08x}"',
        "seed": str(number),
        "head": '"regression"',
        "bracket": "0",
        "checkpoint": f'"trials/{number:05d}"',
        "first_epoch": "1",
        "stop_reason": '"max_t"' if epochs == 27 else '"asha"',
        "epochs": str(epochs),
        "best_epoch": str(epochs),
        "metrics": f'{{"val_loss": {value}}}',
    }
    rows[models.TrialUserAttributeModel] += [
        {"trial_id": trial, "key": key, "value_json": text} for key, text in attributes.items()
    ]
    rows[models.TrialIntermediateValueModel] += [
        {
            "trial_id": trial,
            "step": epoch,
            "intermediate_value": value + 1 / epoch,
            "intermediate_value_type": "FINITE",
        }
        for epoch in range(1, epochs + 1)
    ]
    rows[slots].append({"study_id": study_id, "slot": number, "driver_id": "gone"})


# --------------------------------------------------------------------------- quality


def _branin(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15)
    bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def _hartmann(trial: optuna.Trial) -> float:
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    scales = np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    x = np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(6)])
    return 3.32237 - float(weights @ np.exp(-(scales * (x - centres) ** 2).sum(axis=1)))


def _branches(trial: optuna.Trial) -> float:
    """Three branches with parameters of their own; the best one is found in few trials only."""
    kind = trial.suggest_categorical("kind", ["flat", "bowl", "valley"])
    width = trial.suggest_int("width", 1, 16)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    shared = (math.log10(rate) + 2.5) ** 2 / 4 + abs(width - 11) / 20
    if kind == "flat":
        return shared + 0.6
    if kind == "bowl":
        a, b = trial.suggest_float("a", -3, 3), trial.suggest_float("b", -3, 3)
        return shared + 0.3 + (a - 1) ** 2 + (b + 1) ** 2
    c, d = trial.suggest_float("c", -2, 2), trial.suggest_float("d", -1, 3)
    return shared + (1 - c) ** 2 / 10 + 5 * (d - c**2) ** 2


FUNCTIONS = {"Branin": _branin, "Hartmann 6": _hartmann, "branches": _branches}


class _Quality(NamedTuple):
    """How far two values of one study are from the minimum."""

    best: float
    typical: float


def _qualities(options: argparse.Namespace, figures: list[Figure]) -> Iterator[str]:
    trials, window = max(_trials_of_quality(options)), options.window
    jobs = [(name, seed, trials, window) for name in FUNCTIONS for seed in range(options.seeds)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        found = pool.starmap(_both, jobs)
    by_chance = scipy.stats.binom.isf(0.05 / (2 * len(FUNCTIONS)), options.seeds, 0.5)
    head = ["function", f"after {trials} trials", "all in view", f"a window of {window}"]
    yield f"| {' | '.join(head)} | better, worse |"
    yield "|---|---|---|---|---|"
    for name in FUNCTIONS:
        of_it = [pair for (other, *_), pair in zip(jobs, found, strict=True) if other == name]
        for what in _Quality._fields:
            every, windowed = ([getattr(pair[i], what) for pair in of_it] for i in (0, 1))
            better = sum(w < e for e, w in zip(every, windowed, strict=True))
            worse = sum(w > e for e, w in zip(every, windowed, strict=True))
            shown = f"{_spread(every)} | {_spread(windowed)} | {better}, {worse}"
            yield f"| {name} | {what} | {shown} of {options.seeds} |"
            figures.append(Figure(f"{name}, {what}: seeds in which it is worse", worse, by_chance))


def _both(name: str, seed: int, trials: int, window: int) -> tuple[_Quality, _Quality]:
    """Return the quality with all trials in view, and with a window."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    begun = _run(name, seed, [], window, window)
    return (
        _quality(_run(name, seed, begun, trials, trials), window),
        _quality(_run(name, seed, begun, trials, window), window),
    )


def _run(
    name: str, seed: int, begun: list[optuna.trial.FrozenTrial], trials: int, window: int
) -> list[optuna.trial.FrozenTrial]:
    tpe.WINDOW = window
    study = optuna.create_study(sampler=build_sampler(SamplerConfig(), seed))
    study.add_trials(begun)
    study.optimize(FUNCTIONS[name], n_trials=trials - len(begun))
    return study.get_trials(deepcopy=False)


def _quality(trials: Sequence[optuna.trial.FrozenTrial], window: int) -> _Quality:
    values = [trial.values[0] for trial in trials]
    return _Quality(min(values), statistics.median(values[window:]))


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    sys.exit(main())
