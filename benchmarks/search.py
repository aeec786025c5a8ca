"""Which way of searching finds good models soonest: replays of sweeps from a table of trainings.

    python benchmarks/search.py --curves CURVES --out OUT [--seeds 20] [--only esol freesolv hlm]

``CURVES`` is what `curves.py` wrote: every point of a small space, trained to its end. A replay
is a sweep whose trainings are looked up: the package's own sampler, space and ASHA decide, two
workers train at once, and the clock goes on by the CPU time that each epoch took, and by what a
trial and a report cost besides. So a sweep of an hour takes seconds, and many seeds and settings
can be held against each other at equal time. A trial counts when it is complete, as in a study.

What it leaves out: each point was trained once, so a point that is suggested again has the same
curve again (the tables say how many of the suggestions were of other points), and all seeds share
the chance that was in the trainings. The sign test is over the draws of the samplers only.

Written are ``OUT/<data set>.png``, the best validation RMSE so far against time as median and
quartiles over seeds, and tables in Markdown: the four ways of the picture, then TPE with ASHA
with one setting changed. In the tables regret is the best value so far minus the best of the whole
space, averaged over a sweep's time but for its first fifth. Before its first trial is complete a
sweep has the median point of the space, which a guess would be. A sign test says whether a setting
differs from the default over the same seeds, p multiplied by the number of ways (Bonferroni).
"""

from __future__ import annotations

import argparse
import heapq
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optuna
from curves import EPOCHS, SETS, Curve, key_of, points_of, read_curves, settings_of
from optuna.trial import FrozenTrial, Trial, TrialState
from scipy.stats import binomtest

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.search.tpe import seed_of

WORKERS = 2
TRIAL_S, REPORT_S = 0.3, 0.02
"""What a trial and an epoch cost besides training: start, models stored, and driver."""


@dataclass(frozen=True)
class Way:
    """How a sweep searches."""

    name: str
    sampler: str = "tpe"
    scheduler: str = "asha"
    grace_period: int = 2
    reduction_factor: float = 3
    startup: int = 10
    group: bool = True

    def settings(self) -> dict[str, Any]:
        """Return it as a configuration has it."""
        return {
            "sampler": {"type": self.sampler, "n_startup_trials": self.startup},
            "scheduler": {
                "type": self.scheduler,
                "max_t": EPOCHS,
                "grace_period": self.grace_period,
                "reduction_factor": self.reduction_factor,
            },
        }


DEFAULT = Way("tpe + ASHA")
"""A grace period of a fifteenth of the epochs, and all else as the package has it."""
WAYS = (
    DEFAULT,
    Way("tpe", scheduler="none"),
    Way("random + ASHA", sampler="random"),
    Way("random", sampler="random", scheduler="none"),
)
CHANGES = (
    *(replace(DEFAULT, name=f"grace_period {n}", grace_period=n) for n in (1, 3, 5, 9)),
    *(replace(DEFAULT, name=f"reduction_factor {n}", reduction_factor=n) for n in (2, 4)),
    *(replace(DEFAULT, name=f"n_startup_trials {n}", startup=n) for n in (5, 20, 40)),
    replace(DEFAULT, name="parameters of a branch one by one", group=False),
)


class _OneByOne(optuna.samplers.TPESampler):
    """TPE without groups, seeded by trial as the package's own is."""

    def __init__(self, seed: int, startup: int) -> None:
        super().__init__(n_startup_trials=startup, multivariate=True, constant_liar=True, seed=seed)
        self._seed_of_study = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Seed the draws of a trial."""
        seed = seed_of(self._seed_of_study, trial.number)
        for random in (self._rng, self._random_sampler._rng):
            random.rng.seed(seed)


@dataclass(frozen=True)
class Table:
    """All trainings of a data set, and how long a sweep of it lasts."""

    settings: Mapping[str, Any]
    curves: Mapping[str, Curve]
    lasts_s: float

    @cached_property
    def best(self) -> float:
        """The best value of all points."""
        return min(min(curve.values) for curve in self.curves.values())

    @cached_property
    def middle(self) -> float:
        """The median of what the points come to."""
        whole = [curve.values for curve in self.curves.values() if len(curve.values) == EPOCHS]
        return statistics.median(min(values) for values in whole)


@dataclass(frozen=True)
class Replay:
    """The moments at which a sweep became better, and what it had found by then."""

    moments: tuple[float, ...]
    values: tuple[float, ...]
    trials: int
    points: int
    """How many different ones the trials tried."""

    def at(self, moment: float) -> float:
        """Return the best value at a moment; NaN before the first trial is complete."""
        place = int(np.searchsorted(self.moments, moment, side="right"))
        return self.values[place - 1] if place else np.nan


def main() -> None:
    """Replay, and write the pictures and tables."""
    options = _options()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        table = _table(name, options.curves, options.trials)
        sweeps = {
            way.name: [replay(table, way, seed) for seed in range(options.seeds)]
            for way in (*WAYS, *CHANGES)
        }
        draw(name, table, sweeps, options.out / f"{name}.png")
        for line in _lines(name, table, sweeps):
            print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--trials", type=int, default=40, help="whole trainings a sweep has time for"
    )
    return parser.parse_args()


def _table(name: str, folder: Path, trials: int) -> Table:
    settings = settings_of(name, folder, folder)
    curves = {key_of(curve.point): curve for curve in read_curves(folder / f"{name}.jsonl")}
    asked = len(points_of(load_stored(settings).config))
    if len(curves) < asked:
        raise SystemExit(f"{folder / name}.jsonl: {len(curves)} of {asked} points; run curves.py")
    whole = statistics.mean(sum(curve.seconds) for curve in curves.values())
    whole += TRIAL_S + EPOCHS * REPORT_S
    return Table(settings, curves, whole * trials / WORKERS)


# ----------------------------------------------------------------------------- one sweep


def replay(table: Table, way: Way, seed: int) -> Replay:
    """Return how a sweep would have gone."""
    config = load_stored({**table.settings, **way.settings(), "seed": seed}).config
    return _Sweep(table, config, way).run()


class _Sweep:
    """Two workers, and the package's own sampler, space and ASHA."""

    def __init__(self, table: Table, config: SweepConfig, way: Way) -> None:
        self._table = table
        self._space = Space.of(config)
        sampler = build_sampler(config.sampler, config.seed, self._space)
        if not way.group:
            sampler = _OneByOne(config.seed, way.startup)
        self._study = optuna.create_study(sampler=sampler)
        asha = Asha(config.scheduler, EPOCHS, "min", lambda ray_id: (ray_id, 0))
        self._asha = asha if config.scheduler.type == "asha" else None
        self._points: set[str] = set()
        self._moments: list[float] = []
        self._values: list[float] = []

    def run(self) -> Replay:
        queue: list[tuple[float, int, Trial, Curve, int]] = []
        for worker in range(WORKERS):
            queue.append(self._begin(0.0, worker))
        heapq.heapify(queue)
        while queue:
            moment, worker, trial, curve, epoch = heapq.heappop(queue)
            if moment > self._table.lasts_s:
                continue
            if self._goes_on(trial, curve, epoch, moment):
                lasts = curve.seconds[epoch] + REPORT_S
                heapq.heappush(queue, (moment + lasts, worker, trial, curve, epoch + 1))
            else:
                heapq.heappush(queue, self._begin(moment, worker))
        return Replay(
            tuple(self._moments), tuple(self._values), len(self._study.trials), len(self._points)
        )

    def _begin(self, moment: float, worker: int) -> tuple[float, int, Trial, Curve, int]:
        trial = self._study.ask()
        key = key_of(self._space.suggest(trial))
        self._points.add(key)
        curve = self._table.curves[key]
        return moment + TRIAL_S + curve.seconds[0] + REPORT_S, worker, trial, curve, 1

    def _goes_on(self, trial: Trial, curve: Curve, epoch: int, moment: float) -> bool:
        if epoch > len(curve.values):
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        best = min(curve.values[:epoch])
        trial.report(best, epoch)
        is_stopped = self._is_stopped(trial, best, epoch)
        if epoch == EPOCHS:
            self._complete(trial, best, moment)
        elif is_stopped:
            self._study.tell(trial, state=TrialState.PRUNED)
        return epoch < EPOCHS and not is_stopped

    def _complete(self, trial: Trial, value: float, moment: float) -> None:
        self._study.tell(trial, value)
        if not self._values or value < self._values[-1]:
            self._moments.append(moment)
            self._values.append(value)

    def _is_stopped(self, trial: Trial, best: float, epoch: int) -> bool:
        if self._asha is None:
            return False
        report = TrialReport(epoch, best, best, epoch)
        rider = SimpleNamespace(trial_id=str(trial.number))
        return self._asha.on_trial_result(None, rider, report.as_result()) == "STOP"


# ----------------------------------------------------------------------------- what came out


def _lines(name: str, table: Table, sweeps: Mapping[str, Sequence[Replay]]) -> Iterator[str]:
    yield (
        f"\n{name}: {len(table.curves)} points, the best {table.best:.3f}; a sweep lasts "
        f"{table.lasts_s:,.0f} s of two workers, {len(sweeps[DEFAULT.name])} seeds"
    )
    yield (
        "\n| search | trials (other points) | best at a quarter | half | the end | mean regret "
        "| and default |"
    )
    yield "|---|---|---|---|---|---|---|"
    reference = [_regret(one, table) for one in sweeps[DEFAULT.name]]
    for way, of_way in sweeps.items():
        trials = statistics.median(one.trials for one in of_way)
        points = statistics.median(one.points for one in of_way)
        bests = [_mean_at(of_way, table, table.lasts_s * part) for part in (0.25, 0.5, 1.0)]
        regrets = [_regret(one, table) for one in of_way]
        cells = [f"{trials:.0f} ({points:.0f})", *(f"{best:.3f}" for best in bests)]
        cells += [f"{statistics.mean(regrets):.4f}", _sign(regrets, reference, len(sweeps))]
        yield f"| {way} | " + " | ".join(cells) + " |"


def _mean_at(sweeps: Sequence[Replay], table: Table, moment: float) -> float:
    return statistics.mean(_known(one, table, moment) for one in sweeps)


def _known(sweep: Replay, table: Table, moment: float) -> float:
    value = sweep.at(moment)
    return table.middle if np.isnan(value) else value


def _regret(sweep: Replay, table: Table) -> float:
    """Return the mean distance from the best of the space, from a fifth of the time to the end."""
    moments = np.linspace(table.lasts_s / 5, table.lasts_s, 400)
    return statistics.mean(_known(sweep, table, moment) for moment in moments) - table.best


def _sign(regrets: Sequence[float], reference: Sequence[float], n_ways: int) -> str:
    better = sum(one < other for one, other in zip(regrets, reference, strict=True))
    worse = sum(one > other for one, other in zip(regrets, reference, strict=True))
    if better + worse == 0:
        return ""
    p = min(1.0, binomtest(better, better + worse).pvalue * (n_ways - 1))
    return f"better in {better}, worse in {worse} (p {p:.2g})"


def draw(name: str, table: Table, sweeps: Mapping[str, Sequence[Replay]], file: Path) -> None:
    """Draw the median and the quartiles of the best so far against time."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    moments = np.linspace(0, table.lasts_s, 400)
    for way in WAYS:
        found = np.array([[one.at(moment) for moment in moments] for one in sweeps[way.name]])
        known = ~np.isnan(found).any(axis=0)
        low, middle, high = np.quantile(found[:, known], [0.25, 0.5, 0.75], axis=0)
        (line,) = axes.plot(moments[known] / 60, middle, label=way.name)
        axes.fill_between(moments[known] / 60, low, high, color=line.get_color(), alpha=0.15)
    axes.axhline(table.best, color="0.5", lw=1, ls=":", label="best of the space")
    tail = [one.at(table.lasts_s / 5) for way in WAYS for one in sweeps[way.name]]
    axes.set_ylim(table.best - 0.01 * table.best, np.nanquantile(tail, 0.75))
    axes.set_xlabel("minutes of two workers")
    axes.set_ylabel("best validation RMSE so far")
    axes.set_title(f"{name}: median and quartiles of {len(sweeps[DEFAULT.name])} sweeps")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
