"""Show trials as a chemist reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from chemprop_hpo.hpo.progress.wording import STATE_WORDS

if TYPE_CHECKING:
    from chemprop_hpo.storage.studies import StudyRecord
    from chemprop_hpo.storage.trials import TrialRecord

__all__ = [
    "best_table",
    "best_title",
    "counts_with_reasons",
    "direction_words",
    "head_words",
    "number",
    "params_text",
    "plain_table",
]

KEY_METRICS = {
    "val_rmse": "val_rmse",
    "val_nrmse": "val_nrmse",
    "val_r2": "val_r2",
    "generalisation_gap": "gap",
}
ORDER = (*STATE_WORDS, "RUNNING", "WAITING")


def best_table(records: Sequence[TrialRecord], study: StudyRecord) -> Table:
    """Return trials, best first, with their value, length, head and key metrics."""
    shown = [m for m in KEY_METRICS if m != study.metric and any(m in r.metrics for r in records)]
    table = plain_table(
        "rank", "trial", f"{study.metric}", "epochs", "best epoch", *(KEY_METRICS[m] for m in shown)
    )
    table.add_column("head", overflow="fold")
    for rank, record in enumerate(records, start=1):
        metrics = (number(record.metrics.get(m)) for m in shown)
        table.add_row(str(rank), *_result_cells(record), *metrics, head_words(record.head))
    return table


def best_title(study: StudyRecord) -> str:
    """Return what stands above the table of the best trials."""
    return f"best trials by {study.metric} ({direction_words(study.mode)})"


def plain_table(*columns: str) -> Table:
    """Return an empty table of figures, without lines around its cells."""
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def counts_with_reasons(records: Sequence[TrialRecord]) -> str:
    """Return how many trials are in which state, with the reasons of those that ended early.

    A trial that another one goes on with has not failed; these are counted apart.
    """
    ended = [record for record in records if record.continued_by is None]
    by_state = {state: [r for r in ended if r.state == state] for state in ORDER}
    words = [_kind_words(STATE_WORDS.get(s, s.lower()), r) for s, r in by_state.items() if r]
    continued = [record for record in records if record.continued_by is not None]
    words += [_kind_words("continued", continued)] if continued else []
    return ", ".join(words) or "no trials"


def _kind_words(kind: str, records: Sequence[TrialRecord]) -> str:
    words = f"{len(records)} {kind}"
    reasons = Counter(r.stop_reason for r in records if r.stop_reason)
    if (kind == STATE_WORDS["PRUNED"] and set(reasons) == {"asha"}) or not reasons:
        return words
    return f"{words} ({', '.join(f'{n} {reason}' for reason, n in reasons.most_common())})"


def params_text(params: Mapping[str, Any]) -> str:
    """Return hyperparameters as ``depth=4 max_lr=0.00123``, rounded to be read."""
    return " ".join(f"{name}={_brief(value)}" for name, value in params.items())


def number(value: float | None) -> str:
    """Return four significant digits, or nothing where there is no value."""
    return "" if value is None else f"{value:.4g}"


def direction_words(mode: str) -> str:
    """Return which values are better."""
    return "higher is better" if mode == "max" else "lower is better"


def head_words(head: str | None) -> str:
    """Return a head's name in words."""
    return (head or "").replace("_", " ")


def _result_cells(record: TrialRecord) -> list[str]:
    epochs = (record.epochs, record.best_epoch)
    return [
        str(record.number),
        number(record.value),
        *("" if e is None else str(e) for e in epochs),
    ]


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
