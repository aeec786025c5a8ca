"""Say who works on a study, what has lost its driver, and which trial goes on with which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chemprop_hpo.hpo.progress.wording import MINUTE_S, duration

if TYPE_CHECKING:
    from chemprop_hpo.storage.lineage import ContinuationRow, DriverState

__all__ = [
    "ago",
    "chain_lines",
    "change_lines",
    "driver_lines",
    "orphan_lines",
    "waiting_lines",
]

SHOWN = 5
TIMES = {1: "", 2: " twice"}


def driver_lines(drivers: Sequence[DriverState], now: float) -> list[str]:
    """Return a line for each driver at work or gone from its trials, and a count of the rest."""
    alive = [d for d in drivers if d.state == "alive"]
    lost = [d for d in drivers if d.state != "alive" and d.trials]
    rest: Counter[str] = Counter(d.state for d in drivers if d not in [*alive, *lost])
    words = {"left": "have left" if rest["left"] != 1 else "has left", "dead": "died"}
    past = [f"{rest[state]} {word}" for state, word in words.items() if rest[state]]
    lines = [*(_alive(d, now) for d in alive), *(_gone(d, now) for d in lost)]
    if not alive:
        lines.insert(0, "none at work")
    return [*lines, f"before: {', '.join(past)}"] if past else lines


def orphan_lines(orphans: Iterable[Any]) -> list[str]:
    """Return a line for each trial (a ``FrozenTrial``) that has lost its driver."""
    lines = [f"trial {t.number} has lost its driver {_reached(t)}" for t in orphans]
    return _first(lines, "; resume takes it up", "more; resume takes them up")


def waiting_lines(trials: Iterable[Any], rows: Sequence[ContinuationRow]) -> list[str]:
    """Return a line for each continuation that waits for a driver."""
    reasons = {row.continues: row.stop_reason.replace("_", " ") for row in rows}
    by_number = {trial.number: trial for trial in trials}
    lines = []
    for trial in by_number.values():
        before = by_number.get(trial.user_attrs.get("continues"))
        if trial.state.name == "WAITING" and before is not None:
            why = f"{reasons.get(before.number, 'stopped')} {_reached(before)}"
            lines.append(f"trial {trial.number} goes on with trial {before.number}, {why}")
    return _first(lines, "", "more")


def chain_lines(rows: Sequence[ContinuationRow]) -> list[str]:
    """Return the latest chains of continuations, such as ``3 -> 9 -> 12 (orphaned twice)``."""
    after = {row.continues: row for row in rows if row.continued_by is not None}
    starts = after.keys() - {row.continued_by for row in after.values()}
    chains = sorted((_chain(start, after) for start in starts), key=lambda chain: chain[0][-1])
    lines = [f"{' -> '.join(map(str, numbers))} ({why})" for numbers, why in chains]
    return _last(lines, "earlier")


def change_lines(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what of the study's configuration or data was changed last, with the time."""
    return _last([f"{_when(c['at'])}: {what}" for c in changes for what in c["what"]], "earlier")


def ago(seconds: float) -> str:
    """Return how long ago something was, short times in seconds."""
    whole = max(round(seconds), 0)
    return f"{whole} s ago" if whole < MINUTE_S else f"{duration(whole)} ago"


# ----------------------------------------------------------------------------- one of each


def _alive(driver: DriverState, now: float) -> str:
    since = duration(max(now - driver.started_at, 0))
    trials = f", {_trials(driver.trials)}" if driver.trials else ""
    return f"{_who(driver)}, for {since}, last beat {ago(now - driver.beat_at)}{trials}"


def _gone(driver: DriverState, now: float) -> str:
    how = "is dead" if driver.state == "dead" else "has left"
    had = _trials(driver.trials)
    return f"{_who(driver)} {how}, last beat {ago(now - driver.beat_at)}; it had {had}"


def _who(driver: DriverState) -> str:
    return f"process {driver.pid} on {driver.host}"


def _trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _reached(trial: Any) -> str:
    """Say how far a trial came, together with those that it went on with."""
    epoch = max(trial.last_step or 0, trial.user_attrs.get("reached", 0))
    return f"at epoch {epoch}" if epoch else "before its first epoch"


def _chain(start: int, after: Mapping[int, ContinuationRow]) -> tuple[list[int], str]:
    """Return the numbers of a chain, and why its links ended."""
    numbers, reasons = [start], []
    while (row := after.get(numbers[-1])) is not None and row.continued_by is not None:
        numbers.append(row.continued_by)
        reasons.append(row.stop_reason.replace("_", " "))
    counts = Counter(reasons).items()
    return numbers, ", ".join(f"{why}{TIMES.get(n, f' {n} times')}" for why, n in counts)


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M}"


# ----------------------------------------------------------------------------- not too many


def _first(lines: list[str], end: str, more: str) -> list[str]:
    shown = [line + end for line in lines[:SHOWN]]
    return [*shown, f"and {len(lines) - SHOWN} {more}"] if len(lines) > SHOWN else shown


def _last(lines: list[str], more: str) -> list[str]:
    hidden = len(lines) - SHOWN
    return [f"{hidden} {more}", *lines[-SHOWN:]] if hidden > 0 else lines
