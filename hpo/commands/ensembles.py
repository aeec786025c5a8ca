"""``ensembles``: train the best configurations on all folds, and combine the models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.commands.console import errors
from chemprop_hpo.hpo.commands.ensembles_outcome import report_ensembles
from chemprop_hpo.hpo.commands.logs import hush_optuna, show_log
from chemprop_hpo.hpo.commands.opening import existing_database, existing_study, latest
from chemprop_hpo.hpo.commands.options import (
    DEFAULT_STORAGE,
    AcceptChangedData,
    Debug,
    Level,
    LogLevel,
    Overrides,
    StorageUrl,
    StudyName,
)
from chemprop_hpo.hpo.commands.overrides import checked_overrides

if TYPE_CHECKING:
    from chemprop_hpo.configs.load import LoadedSweep
    from chemprop_hpo.hpo.drive import SweepResult
    from chemprop_hpo.hpo.ensembles.run import EnsembleResult
    from chemprop_hpo.hpo.progress.members import MemberDisplay

__all__ = ["HELP", "ensembles", "go_on_to_ensembles"]

HELP = """\
Turn the best configurations of a study into ensembles that predict.

Each of the k best is trained on every split and fold. Every training row is then predicted by
models that have not seen it; these predictions weigh the models, calibrate the intervals and
give figures with confidence intervals. Test rows are scored at the very end. The folder holds a
predictor for each configuration, `combined/` for all of them together, tables, and report.html;
`predict --ensemble` takes it.

What was trained is kept: after Ctrl-C, or a kill, the same command goes on. Ensembles of
other trials, splits or folds in the folder are left alone, unless `--force` is given.

\b
--select says which configurations are taken:
  best      those with the best values
  stable    the lowest validation RMSE among those whose generalisation gap is
            under promotion.max_generalisation_gap and whose val_r2 is close to
            the best (a classification: the best value, and val_roc_auc)
  diverse   the best values that are --min-distance apart

\b
Examples:
  chemprop-hpo ensembles --top-k 3
  chemprop-hpo ensembles --study esol --top-k 5 --select diverse -o models/esol
  chemprop-hpo ensembles --top-k 3 --splits 0,1 --folds 0,1,2
  chemprop-hpo ensembles --top-k 3 data.test_file=test.csv

\b
Exit codes: 0 finished, 1 failed, 2 something to put right, 130 or 143
interrupted.
"""


MIN_DISTANCE = 0.15


class Select(StrEnum):
    """How configurations are chosen."""

    BEST = "best"
    STABLE = "stable"
    DIVERSE = "diverse"


TopK = Annotated[
    int | None,
    typer.Option(
        "-k",
        "--top-k",
        min=1,
        metavar="K",
        help="How many configurations; by default transfer_learning.top_k, which is 3 if not set.",
    ),
]
Rule = Annotated[
    Select, typer.Option("--select", case_sensitive=False, help="Which configurations.")
]
Splits = Annotated[
    str | None,
    typer.Option(
        "--splits", metavar="N,N", help="Train on these splits only, as in 0,1; all by default."
    ),
]
Folds = Annotated[
    str | None,
    typer.Option(
        "--folds", metavar="N,N", help="Train on these folds only, as in 0,1,2; all by default."
    ),
]
MinDistance = Annotated[
    float,
    typer.Option(
        "--min-distance",
        min=0.0,
        max=1.0,
        help="For --select diverse: least mean difference of the hyperparameters, 0 to 1.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Where to write; by default the folder ensembles in the study's own.",
    ),
]

RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Train models that failed before once more.", show_default=False
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace ensembles of the study also where they are of other trials, splits or folds.",
        show_default=False,
    ),
]


def ensembles(
    overrides: Overrides = None,
    top_k: TopK = None,
    select: Rule = Select.BEST,
    splits: Splits = None,
    folds: Folds = None,
    min_distance: MinDistance = MIN_DISTANCE,
    output: Output = None,
    force: Force = False,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    retry_failed: RetryFailed = False,
    accept_changed_data: AcceptChangedData = False,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Load the study's configuration, train, and say what came of it."""
    changes = checked_overrides(overrides)
    chosen = _numbers("--splits", splits), _numbers("--folds", folds)
    loaded = loaded_with_data(study, storage, changes, accept_changed_data)
    k = top_k or loaded.config.transfer_learning.top_k
    _require_trials(loaded, k)
    wish = Wish(
        k,
        select,
        min_distance,
        *chosen,
        output,
        accept_changed_data,
        retry_failed,
        force=force,
    )
    _train(loaded, wish, log_level)


def go_on_to_ensembles(result: SweepResult, loaded: LoadedSweep, log_level: LogLevel) -> None:
    """Train the ensembles that ``transfer_learning`` asks for, once a sweep is finished.

    Parameters
    ----------
    result : SweepResult
        How the sweep ended.
    loaded : LoadedSweep
        Its configuration.
    log_level : LogLevel
        How much is told.
    """
    wanted = loaded.config.transfer_learning
    if not wanted.enabled or result.reason != "finished":
        return
    try:
        _require_trials(loaded, wanted.top_k)
    except UsageError as problem:
        raise UsageError(
            f"the sweep is finished, but transfer_learning.top_k asks for {wanted.top_k} "
            f"configurations: {problem}"
        ) from problem
    _train(loaded, Wish(wanted.top_k), log_level)


@dataclass(frozen=True)
class Wish:
    """What the command line asks for, before anything slow is imported.

    Attributes are those of `Choice` and `Request`. What goes on by itself, as after a sweep,
    replaces what it wrote before.
    """

    top_k: int
    rule: Select = Select.BEST
    min_distance: float = MIN_DISTANCE
    splits: tuple[int, ...] | None = None
    folds: tuple[int, ...] | None = None
    output: Path | None = None
    accept_changed_data: bool = False
    retry_failed: bool = False
    as_swept: bool = False
    force: bool = True


def _train(loaded: LoadedSweep, wish: Wish, log_level: LogLevel) -> None:
    report_ensembles(train_shown(loaded, wish, log_level))


def train_shown(loaded: LoadedSweep, wish: Wish, log_level: LogLevel) -> EnsembleResult:
    """Make ensembles, and show meanwhile how far it is.

    Parameters
    ----------
    loaded : LoadedSweep
        The study's configuration, with its data.
    wish : Wish
    log_level : LogLevel
        How much is told.
    """
    with _shown(log_level) as display:
        from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
        from chemprop_hpo.hpo.ensembles.plan import Request
        from chemprop_hpo.hpo.ensembles.run import make_ensembles

        hush_optuna()
        choice = Choice(wish.top_k, wish.rule.value, wish.min_distance)
        request = Request(
            choice,
            wish.splits,
            wish.folds,
            wish.output,
            wish.accept_changed_data,
            wish.retry_failed,
            wish.as_swept,
            wish.force,
        )
        return make_ensembles(loaded, request, observers=(display,))


@contextmanager
def _shown(level: LogLevel) -> Iterator[MemberDisplay]:
    from chemprop_hpo.hpo.progress.members import MemberDisplay

    console = errors()
    show_log(level.value, console)
    with MemberDisplay(console, quiet=level is LogLevel.WARNING) as display:
        yield display


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Read ``0,1,2``, in any order, each once."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"{option} {text}: must be numbers with commas between, as in 0,1,2")
    return tuple(sorted({int(part) for part in parts}))


def loaded_with_data(
    study: str | None, storage: str, changes: list[str], accept_changed_data: bool
) -> LoadedSweep:
    """Return the study's configuration, once all is checked that can be before long imports."""
    from chemprop_hpo.hpo.ensembles.checking import check_data
    from chemprop_hpo.hpo.resuming import sweep_of_study

    with existing_database(storage) as database:
        study = study or latest(database)
        loaded = sweep_of_study(database, study, storage, overrides=changes)
    check_data(loaded, accept_changed_data=accept_changed_data)
    return loaded


def _require_trials(loaded: LoadedSweep, k: int) -> None:
    from chemprop_hpo.hpo.ensembles.configurations.complete import require_complete
    from chemprop_hpo.storage.trials import best_trials

    with existing_study(loaded.config.study_name, loaded.config.study.storage) as opened:
        require_complete(opened.study)
        best_trials(opened.study, k, distinct=True)
