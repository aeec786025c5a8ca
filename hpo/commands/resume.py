"""``resume``: go on with a study."""

from __future__ import annotations

from typing import Annotated

import typer

from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.commands.opening import existing_database, latest
from chemprop_hpo.hpo.commands.options import (
    DEFAULT_STORAGE,
    Debug,
    Level,
    LogLevel,
    Overrides,
    StorageUrl,
    StudyName,
)
from chemprop_hpo.hpo.commands.overrides import checked_overrides
from chemprop_hpo.hpo.commands.watching import watched

HELP = """\
Go on with a study: its unfinished trials from their last checkpoints, then new ones.

Everything needed is in the database; the YAML file is not read again. `--num-samples` sets
the study's new total, so that a finished study can be made longer.

\b
Examples:
  chemprop-hpo resume --study esol
  chemprop-hpo resume --study esol --num-samples 60
  chemprop-hpo resume --study esol resources.max_concurrent_trials=2

\b
Exit codes: 0 finished, 1 failed, 2 something to put right, 130 or 143
interrupted again.
"""

NumSamples = Annotated[
    int | None,
    typer.Option("--num-samples", min=1, metavar="N", help="The study's new total of trials."),
]


def resume(
    overrides: Overrides = None,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    num_samples: NumSamples = None,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Resume the study, and report as ``sweep`` does."""
    changes = checked_overrides(overrides)
    if study is None:
        with existing_database(storage) as database:
            study = latest(database)
    with watched(log_level) as display:
        from chemprop_hpo.hpo.sweep import resume_sweep

        hush_optuna()
        result = resume_sweep(
            study, storage, overrides=changes, num_samples=num_samples, observers=(display,)
        )
    from chemprop_hpo.hpo.commands.outcome import report_outcome

    report_outcome(result, storage)
