"""``resume``: go on with a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.commands.opening import existing_database, latest
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
from chemprop_hpo.hpo.commands.watching import watched

if TYPE_CHECKING:
    from chemprop_hpo.configs.load import LoadedSweep

HELP = """\
Go on with a study: its unfinished trials from their last checkpoints, then new ones.

Everything needed is in the database; the YAML file is not read again. `--num-samples` sets
the study's new total, so that a finished study can be made longer. KEY=VALUE says what is
different here: paths, resources, tracking, time budget. What would give finished trials
another meaning, such as other base values of the model, is refused.

Data files are recognised by their content, wherever they are. Where they were changed on
purpose, `--accept-changed-data` goes on, and the study notes the change.

\b
Examples:
  chemprop-hpo resume --study esol
  chemprop-hpo resume --study esol --num-samples 60
  chemprop-hpo resume --study esol data.file=/data/esol.csv study.folder=/scratch/esol
  chemprop-hpo resume --storage 'postgresql://me:${oc.env:PGPASSWORD}@host/db'

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
    accept_changed_data: AcceptChangedData = False,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Resume the study, and report as ``sweep`` does."""
    changes = checked_overrides(overrides)
    loaded = _checked(study, storage, changes, num_samples, accept_changed_data)
    with watched(log_level) as display:
        from chemprop_hpo.hpo.sweep import resume_sweep

        hush_optuna()
        result = resume_sweep(
            loaded.config.study_name,
            storage,
            overrides=changes,
            num_samples=num_samples,
            accept_changed_data=accept_changed_data,
            observers=(display,),
        )
    from chemprop_hpo.hpo.commands.ensembles import go_on_to_ensembles
    from chemprop_hpo.hpo.commands.outcome import report_outcome

    report_outcome(result, storage)
    go_on_to_ensembles(result, loaded, log_level)


def _checked(
    study: str | None,
    storage: str,
    changes: list[str],
    num_samples: int | None,
    accept_changed_data: bool,
) -> LoadedSweep:
    """Return the study's configuration, once all is checked that can be before long imports."""
    from chemprop_hpo.hpo.identity import check_study, manifest_of
    from chemprop_hpo.hpo.resuming import sweep_of_study

    with existing_database(storage) as database:
        study = study or latest(database)
        loaded = sweep_of_study(
            database, study, storage, overrides=changes, num_samples=num_samples
        )
    manifest = manifest_of(loaded.config)
    check_study(loaded, manifest, accept_changed_data=accept_changed_data)
    return loaded
