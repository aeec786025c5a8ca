"""What the race has shown: tables in Markdown, limits that can be missed, and a plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from race_results import SIDES, Result, Setting, best_at

__all__ = ["LIMITS", "Judged", "draw", "judge", "report"]

OURS = ("ours", "whole", "floor", "ensembles")

Repeat = Mapping[str, Result]
"""The results of one repeat, by side."""


@dataclass(frozen=True)
class Limit:
    """A figure that must not be worse than this."""

    name: str
    sides: tuple[str, ...]
    bound: float
    least: bool
    """Whether the bound is the least that is good; else it is the most."""
    figure: Callable[[Repeat], float | None]
    is_ratio: bool = True
    """Whether every run would have about the same, on another machine too."""

    def is_worse(self, value: float, before: float) -> bool:
        """Whether a value is worse than one before, beyond what two runs differ by."""
        return value < before / MARGIN if self.least else value > before * MARGIN

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.bound if self.least else value <= self.bound


@dataclass(frozen=True)
class Judged:
    """What was measured of a limit; of an open one nothing can be said."""

    limit: Limit
    values: tuple[float, ...]
    notes: tuple[str, ...] = ()
    judged: bool = True
    failed: bool = False
    """Whether a side of ours did not do all that was asked."""
    before: float | None = None
    """The best that a whole race has shown."""

    @property
    def median(self) -> float | None:
        """The figure of the middle repeat."""
        return statistics.median(self.values) if self.values else None

    @property
    def best(self) -> float | None:
        """The best figure so far; this one counts if all was done that was asked."""
        own = None if self.failed else self.median
        known = [value for value in (own, self.before) if value is not None]
        return (max if self.limit.least else min)(known, default=None)

    @property
    def is_worse(self) -> bool:
        """Whether it was better before."""
        comparable = self.judged and self.limit.is_ratio and self.before is not None
        return (
            comparable and self.median is not None and self.limit.is_worse(self.median, self.before)
        )

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, ``WORSE`` than before, or why it is open."""
        if not self.judged:
            return "not judged: other settings"
        if self.failed:
            return "MISSED"
        # One repeat that is worse may be the machine; the median is ours.
        if self.median is None:
            return "not measured"
        if not self.limit.met(self.median):
            return "MISSED"
        return "WORSE" if self.is_worse else "met"


def _cpu(side: str) -> Callable[[Repeat], float | None]:
    return lambda repeat: repeat[side].per_trial(repeat[side].cost.cpu_s)


def _cpu_ratio(one: str, other: str) -> Callable[[Repeat], float | None]:
    def ratio(repeat: Repeat) -> float | None:
        # What trials in flight have cost is no part of those that were finished.
        if not repeat[other].complete:
            return None
        return _ratio(_cpu(one)(repeat), _cpu(other)(repeat))

    return ratio


def _faster(repeat: Repeat) -> float | None:
    ours, theirs = repeat["ours"], repeat["hpopt"]
    # One that broke off by itself might have gone on for any time, or no time.
    is_bound = theirs.complete or theirs.cost.timed_out
    return theirs.cost.wall_s / ours.cost.wall_s if ours.complete and is_bound else None


def _ensembles_faster(side: str) -> Callable[[Repeat], float | None]:
    def ratio(repeat: Repeat) -> float | None:
        ours, theirs = repeat["ensembles"], repeat[side]
        one = theirs.per_trial(theirs.cost.wall_s)
        return _ratio(one and one * ours.asked, ours.cost.wall_s if ours.complete else None)

    return ratio


def _behind(repeat: Repeat) -> float | None:
    """Return how much worse ours is than hpopt at the end of ours."""
    at = repeat["ours"].cost.wall_s
    ours, theirs = (best_at(repeat[side].figures.curve, at) for side in ("ours", "hpopt"))
    return None if ours is None or theirs is None else max(0.0, ours - theirs)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


MARGIN = 1.25

LIMITS = (
    Limit(
        "CPU seconds a trial, every trial to its end",
        ("whole",),
        35.0,
        False,
        _cpu("whole"),
        is_ratio=False,
    ),
    Limit(
        "the same, as a share of `chemprop hpopt`",
        ("whole", "hpopt"),
        35.0 / 155.0,
        False,
        _cpu_ratio("whole", "hpopt"),
    ),
    Limit(
        "the same, as a multiple of the bare loop",
        ("whole", "floor"),
        1.5,
        False,
        _cpu_ratio("whole", "floor"),
    ),
    Limit(
        "wall time of `chemprop hpopt`, over that of the sweep with ASHA",
        ("ours", "hpopt"),
        10.0,
        True,
        _faster,
    ),
    Limit(
        "best validation RMSE when the sweep with ASHA has ended: how far behind `chemprop hpopt`",
        ("ours", "hpopt"),
        0.0,
        False,
        _behind,
    ),
    Limit(
        "MB written a trial, every trial to its end",
        ("whole",),
        40.0,
        False,
        lambda repeat: repeat["whole"].per_trial(repeat["whole"].cost.written_mb),
    ),
    Limit(
        "models kept after the sweep",
        ("ours",),
        3.0,
        False,
        lambda repeat: float(repeat["ours"].figures.weights),
        is_ratio=False,
    ),
    Limit(
        "wall time of as many `chemprop train` as the ensembles have members, over theirs",
        ("ensembles", "loop"),
        3.0,
        True,
        _ensembles_faster("loop"),
    ),
    Limit(
        "the same, with as many `chemprop train` at once as CPUs",
        ("ensembles", "train"),
        3.0,
        True,
        _ensembles_faster("train"),
    ),
)
"""Set for two cores, ESOL, 32 trials of 27 epochs, hidden sizes of 300."""


def judge(
    results: Sequence[Result], *, usual: bool, before: Mapping[str, float] | None = None
) -> list[Judged]:
    """Hold what was measured against the limits, which are set for the usual settings.

    Parameters
    ----------
    results : sequence of Result
    usual : bool
        Whether they are of the usual settings.
    before : mapping, optional
        The best that whole races have shown, by the names of the limits.
    """
    repeats = _by_repeat(results)
    judged = []
    for limit in LIMITS:
        both = [repeat for repeat in repeats if all(side in repeat for side in limit.sides)]
        values = [value for repeat in both if (value := limit.figure(repeat)) is not None]
        failed = any(
            side in repeat and not repeat[side].complete
            for repeat in repeats
            for side in limit.sides
            if side in OURS
        )
        earlier = (before or {}).get(limit.name)
        judged.append(Judged(limit, tuple(values), _notes(limit, both), usual, failed, earlier))
    return judged


def _notes(limit: Limit, repeats: Sequence[Repeat]) -> tuple[str, ...]:
    """Say what a reader of a figure must know: what was stopped, and what was scaled."""
    notes = []
    for repeat in repeats:
        if len({repeat[side].machine.get("commit") for side in limit.sides}) > 1:
            notes.append("sides of different commits")
        for side in limit.sides:
            one = repeat[side]
            if side in ("train", "loop"):
                notes.append(f"scaled from {one.figures.finished} runs of `chemprop train`")
            if not one.complete:
                at_least = "at least; " if one.cost.timed_out and limit.least else ""
                notes.append(f"{at_least}{SIDES[side]}: {_progress(one)}")
    return tuple(dict.fromkeys(notes))


def _progress(result: Result) -> str:
    after = f"{result.figures.finished} of {result.asked} after {result.cost.wall_s / 60:.0f} min"
    why = "time limit" if result.cost.timed_out else f"exit code {result.cost.code}"
    return f"{after} ({why})"


# ----------------------------------------------------------------------------- Markdown


def report(results: Sequence[Result], setting: Setting, judged: Sequence[Judged]) -> Iterator[str]:
    """Yield the lines of RESULTS.md."""
    yield "# Results of the race"
    yield ""
    yield "Written by `make bench` (`benchmarks/race.py`); its docstring says what was run."
    yield ""
    yield (
        f"ESOL, 70 % training, 10 % validation, 20 % test; {setting.trials} trials of at most "
        f"{setting.epochs} epochs, hidden sizes 300, batches of 64, {setting.cpus} at once with "
        "one thread each. Medians over repeats, with least and most. No side logs to MLflow. "
        "A trial of ours counts with its best epoch, one of `chemprop hpopt` and of the bare loop "
        "with its last."
    )
    yield ""
    yield from _machine_lines(results)
    yield ""
    yield from _table(results)
    yield ""
    yield from _limit_lines(judged)
    yield ""
    yield "![best validation RMSE against wall time](results.png)"


def _machine_lines(results: Sequence[Result]) -> Iterator[str]:
    for name in results[0].machine if results else ():
        told = dict.fromkeys(result.machine[name] for result in results)
        yield f"- {name}: {' / '.join(told)}"
    if results:
        loads = [result.load for result in results]
        yield f"- load before each part: {min(loads):.1f} to {max(loads):.1f}"


def _table(results: Sequence[Result]) -> Iterator[str]:
    ends = {one.repeat: one.cost.wall_s for one in results if one.side == "ours"}
    names = [*(name for name, _ in _COLUMNS), "best of its trials when the first line had ended"]
    yield "| " + " | ".join(["", "repeats", *names, "stopped"]) + " |"
    yield "|---" * (len(names) + 3) + "|"
    for side, title in SIDES.items():
        of_side = [result for result in results if result.side == side]
        if not of_side:
            yield f"| {title} | 0 |" + " |" * (len(names) + 1)
            continue
        cells = [_cell([figure(result) for result in of_side]) for _, figure in _COLUMNS]
        early = [
            best_at(one.figures.curve, ends[one.repeat]) for one in of_side if one.repeat in ends
        ]
        cells.append(_cell(early))
        stopped = "; ".join(_progress(one) for one in of_side if not one.complete)
        yield "| " + " | ".join([title, str(len(of_side)), *cells, stopped]) + " |"


_COLUMNS: tuple[tuple[str, Callable[[Result], float | None]], ...] = (
    ("finished", lambda one: one.figures.finished),
    ("failed", lambda one: one.figures.failed),
    ("epochs", lambda one: one.figures.epochs),
    ("mean depth", lambda one: one.figures.depth),
    ("wall s", lambda one: one.cost.wall_s),
    ("CPU s", lambda one: one.cost.cpu_s),
    ("CPU s each", lambda one: one.per_trial(one.cost.cpu_s)),
    ("MB written each", lambda one: one.per_trial(one.cost.written_mb)),
    ("MB kept", lambda one: one.figures.kept_mb),
    ("peak MB", lambda one: one.cost.peak_mb),
    ("validation RMSE", lambda one: one.figures.validation_rmse),
    ("test RMSE", lambda one: one.figures.test_rmse),
    ("test RMSE when the first line had ended", lambda one: one.figures.early_test_rmse),
)


def _limit_lines(judged: Sequence[Judged]) -> Iterator[str]:
    yield "| figure | measured | best before | limit | | |"
    yield "|---|---|---|---|---|---|"
    for one in judged:
        bound = f"{'>=' if one.limit.least else '<='} {_number(one.limit.bound)}"
        before = "" if one.before is None else _number(one.before)
        notes = "; ".join(one.notes)
        cells = [one.limit.name, _cell(one.values), before, bound, one.verdict, notes]
        yield "| " + " | ".join(cells) + " |"


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    middle = _number(statistics.median(known))
    if min(known) == max(known):
        return middle
    return f"{middle} ({_number(min(known))} to {_number(max(known))})"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _by_repeat(results: Sequence[Result]) -> list[Repeat]:
    repeats = sorted({result.repeat for result in results})
    return [{one.side: one for one in results if one.repeat == number} for number in repeats]


# ----------------------------------------------------------------------------- plot


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw the best validation RMSE of finished trials against wall time, a line each repeat."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    searches = [side for side in ("ours", "whole", "hpopt", "floor") if side in SIDES]
    for i, side in enumerate(searches):
        for result in (one for one in results if one.side == side and one.figures.curve):
            times, best = _steps(result)
            label = SIDES[side].replace("`", "") if result.repeat == _first(results, side) else None
            axes.step(times, best, where="post", color=f"C{i}", label=label)
    axes.set(xscale="log", xlabel="wall time, s", ylabel="best validation RMSE, log10 mol/l")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _first(results: Sequence[Result], side: str) -> int:
    return min(one.repeat for one in results if one.side == side and one.figures.curve)


def _steps(result: Result) -> tuple[list[float], list[float]]:
    times = [at for at, _ in result.figures.curve]
    best = [min(rmse for _, rmse in result.figures.curve[: i + 1]) for i in range(len(times))]
    return [*times, result.cost.wall_s], [*best, best[-1]]
