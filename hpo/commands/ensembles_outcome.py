"""Say what came of ensembles, and what to do with them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
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

SHOWN_TARGETS = 12


def report_ensembles(result: EnsembleResult) -> None:
    """Print the figures of each ensemble, the members that failed, and the next commands."""
    say(_title(result.content))
    say(_table(result.content))
    for line in _weights(result.content):
        say(line)
    for record in result.failed:
        key = record.key
        note(f"trial {key.trial} split {key.split} fold {key.fold} has no model: {record.reason}")
    if result.failed:
        note("the ensembles do without; the same command with --retry-failed trains them once more")
    for line in _next_steps(result.folder):
        say(line)


def _title(content: ReportContent) -> str:
    part = "test" if content.has_test else "out-of-fold"
    return f"{_figure(content)} on {part} rows [95 % interval]"


def _figure(content: ReportContent) -> str:
    return "RMSE" if content.task == "regression" else "ROC-AUC"


def _table(content: ReportContent) -> Table:
    names = [target.name for target in content.targets][:SHOWN_TARGETS]
    macro = any(_macro(one, content.has_test) for one in content.ensembles)
    word = "macro RAE" if content.task == "regression" else "mean ROC-AUC"
    table = plain_table("ensemble", *([word] if macro else []), *names)
    table.columns[0].justify = "left"
    for one in content.ensembles:
        cells = [_cell(_of_target(target, content)) for target in one.targets][:SHOWN_TARGETS]
        table.add_row(one.name, *([_cell(_macro(one, content.has_test))] if macro else []), *cells)
    return table


def _of_target(target: EnsembleTarget, content: ReportContent) -> Interval | None:
    judged = target.test if content.has_test else target.out_of_fold
    name = "rmse" if content.task == "regression" else "roc_auc"
    return None if judged is None else judged.figures[name]


def _macro(ensemble: Ensemble, has_test: bool) -> Interval | None:
    return ensemble.macro_test if has_test else ensemble.macro_out_of_fold


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def _weights(content: ReportContent) -> Iterator[str]:
    for target, one in zip(content.targets, content.combinations, strict=False):
        used = "greedy weights" if one.used == "greedy" else "the plain mean"
        yield f"{target.name}: combined by {used}"


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
