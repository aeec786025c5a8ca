"""Say what came of ensembles, and what to do with them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.trial_tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from chemprop_hpo.hpo.ensembles.run import EnsembleResult
    from chemprop_hpo.hpo.evaluation.bootstrap import Interval
    from chemprop_hpo.hpo.report.content import Ensemble, EnsembleTarget, ReportContent

__all__ = ["report_ensembles"]


def report_ensembles(result: EnsembleResult) -> None:
    """Print the figures of each ensemble, the members that failed, and the next commands."""
    say(_title(result.content))
    say(_table(result.content))
    if not result.content.has_test:
        say("single best is judged on its own validation fold only, the others on all rows")
    for record in result.failed:
        key = record.key
        note(f"trial {key.trial} split {key.split} fold {key.fold} has no model: {record.reason}")
    if result.failed:
        note("the ensembles do without; the same command with --retry-failed trains them once more")
    for line in _next_steps(result.folder):
        say(line)


def _title(content: ReportContent) -> str:
    part = "test" if content.has_test else "out-of-fold"
    figure = "RMSE" if content.task == "regression" else "ROC-AUC"
    units = " in original units" if any(t.transform != "none" for t in content.targets) else ""
    return f"{figure}{units} on {part} rows, of the combination with its 95 % interval"


def _table(content: ReportContent) -> Table:
    table = plain_table("target", *(one.name for one in content.ensembles), "weights")
    table.columns[0].justify = table.columns[-1].justify = "left"
    for column in table.columns[1:]:
        column.no_wrap = True
    macros = [_macro(one, content.has_test) for one in content.ensembles]
    if any(macros):
        word = "macro RAE" if content.task == "regression" else "mean ROC-AUC"
        table.add_row(word, *_cells(macros), "")
    for i, target in enumerate(content.targets):
        figures = [_of_target(one.targets[i], content) for one in content.ensembles]
        name = f"{target.name} ({target.unit})" if target.unit else target.name
        table.add_row(name, *_cells(figures), _weights(content, i))
    return table


def _of_target(target: EnsembleTarget, content: ReportContent) -> Interval | None:
    judged = target.test if content.has_test else target.out_of_fold
    name = "rmse" if content.task == "regression" else "roc_auc"
    return None if judged is None else judged.figures[name]


def _macro(ensemble: Ensemble, has_test: bool) -> Interval | None:
    return ensemble.macro_test if has_test else ensemble.macro_out_of_fold


def _cells(figures: Sequence[Interval | None]) -> list[str]:
    """Return a cell for each candidate; the last is the combination."""
    *others, last = figures
    return [*map(_value, others), _value(last) + _ends(last)]


def _ends(interval: Interval | None) -> str:
    if interval is None or math.isnan(interval.low):
        return ""
    return f" [{interval.low:.3g}, {interval.high:.3g}]"


def _value(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return "undefined" if math.isnan(interval.value) else f"{interval.value:.3g}"


def _weights(content: ReportContent, i: int) -> str:
    return content.combinations[i].used if content.combinations else ""


def _next_steps(folder: Path) -> list[str]:
    shown = shlex.quote(str(_short(folder)))
    return [
        "what to do next:",
        f"  open {shown}/report.html",
        f"  chemprop-hpo predict --ensemble {shown} INPUT.csv -o OUTPUT.csv",
    ]


def _short(folder: Path) -> Path:
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder
