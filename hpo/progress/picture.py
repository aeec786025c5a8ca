"""Draw a sweep as it stands, and say it in a line."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from chemprop_hpo.hpo.progress.state import RunningTrial, SweepState
from chemprop_hpo.hpo.progress.wording import STATE_WORDS
from chemprop_hpo.hpo.sparkline import sparkline

__all__ = ["picture", "standing"]

NARROW = 76


def picture(state: SweepState, console: Console) -> Group:
    """Return the sweep as it stands, drawn for the console's width and height."""
    title = Text(f"{state.started.study}  ", style="bold")
    title.append(_bar(state, console), style="cyan")
    lines = [Text(line) for line in (_tally(state), _best(state), _pace(state))]
    return Group(title, *lines, *_running(state, console))


def standing(state: SweepState) -> str:
    """Return the sweep as it stands, in one line."""
    parts = [_tally(state), _best(state), _pace(state)]
    return "; ".join(parts)


def _tally(state: SweepState) -> str:
    counts = [f"{n} {STATE_WORDS.get(s, s.lower())}" for s, n in state.counts.items() if n]
    shown = [f"{state.used} of {state.started.num_samples} trials done", *counts]
    return ", ".join([*shown, f"{len(state.running)} running"])


def _best(state: SweepState) -> str:
    if state.best is None:
        return f"no complete trial yet ({state.started.metric}, {state.started.mode})"
    return f"best {state.started.metric} {state.best:.4g}{state.best_note}"


def _pace(state: SweepState) -> str:
    pace = state.epochs_per_s()
    text = (
        "" if pace is None else f"{pace:.2g} epochs/s, " if pace < 10 else f"{pace:.0f} epochs/s, "
    )
    return text + state.time_left()


def _bar(state: SweepState, console: Console) -> str:
    width = max(min(console.width - len(state.started.study) - 4, 40), 10)
    full = round(width * min(state.used / max(state.started.num_samples, 1), 1))
    done, rest = ("━", "─") if _draws_blocks(console) else ("#", "-")
    return done * full + rest * (width - full)


def _running(state: SweepState, console: Console) -> list[Table | Text]:
    rows = max(console.height - 8, 1)
    trials = sorted(state.running.values(), key=lambda t: t.number)
    if not trials:
        return []
    table = _curves(trials[:rows], state, console)
    hidden = len(trials) - rows
    return [table, Text(f"and {hidden} more")] if hidden > 0 else [table]


def _curves(trials: list[RunningTrial], state: SweepState, console: Console) -> Table:
    wide = console.width >= NARROW
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    columns = ["trial", "epoch", "best", "last", "head"] if wide else ["trial", "epoch", "best"]
    for name in columns:
        table.add_column(name, no_wrap=True, justify="left" if name == "head" else "right")
    table.add_column(state.started.metric, no_wrap=True, overflow="crop")
    points = min(max(console.width - (60 if wide else 36), 8), 60)
    for trial in trials:
        table.add_row(*_cells(trial, state)[: len(columns)], _curve(trial, points, console))
    return table


def _cells(trial: RunningTrial, state: SweepState) -> list[str]:
    return [
        str(trial.number),
        f"{trial.epoch}/{state.started.max_epochs}",
        "" if trial.best is None else f"{trial.best:.4g}",
        "" if trial.value is None else f"{trial.value:.4g}",
        trial.head.replace("_", " "),
    ]


def _curve(trial: RunningTrial, points: int, console: Console) -> str:
    return sparkline(trial.curve, points, blocks=_draws_blocks(console))


def _draws_blocks(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
