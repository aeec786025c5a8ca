"""``sweep``: start a sweep, or only say what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.console import write
from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.commands.options import (
    STORAGE_HELP,
    STORAGE_VARIABLE,
    AcceptChangedData,
    Debug,
    Level,
    LogLevel,
    Overrides,
    SweepFile,
)
from chemprop_hpo.hpo.commands.overrides import sweep_overrides
from chemprop_hpo.hpo.commands.watching import watched

if TYPE_CHECKING:
    from chemprop_hpo.configs.load import LoadedSweep
    from chemprop_hpo.hpo.plan import SweepPlan

HELP = """\
Run the sweep that a YAML file describes.

Trials are kept in a study as they run. Ctrl-C ends a sweep cleanly; `resume`, or the same
`sweep` once more, goes on with it. `--dry-run` checks data, resources and database, shows the
search space and five configurations, and starts nothing.

A study refuses data files that are not those it began with. Where that is meant, as after
the correction of a label, `--accept-changed-data` goes on, and the study notes the change.

\b
Examples:
  chemprop-hpo sweep esol.yaml
  chemprop-hpo sweep esol.yaml --dry-run
  chemprop-hpo sweep esol.yaml num_samples=20 resources.gpus_per_trial=0
  chemprop-hpo sweep esol.yaml --study second --storage sqlite:///lab.db

\b
Exit codes: 0 finished, 1 failed, 2 something to put right in the file or on
the command line, 130 or 143 interrupted (Ctrl-C or SIGTERM).
"""

Name = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Name of the study, in place of study.name."),
]
Url = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", envvar=STORAGE_VARIABLE, help=STORAGE_HELP),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and show everything, start nothing.")
]


def sweep(
    file: SweepFile,
    overrides: Overrides = None,
    study: Name = None,
    storage: Url = None,
    dry_run: DryRun = False,
    accept_changed_data: AcceptChangedData = False,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Load the file, then plan or run it."""
    changes = sweep_overrides(overrides, study, storage)
    from chemprop_hpo.configs.load import load_sweep
    from chemprop_hpo.hpo.identity import check_study, manifest_of

    loaded = load_sweep(file, changes)
    # What trains takes long to import; what is missing or does not fit is said at once.
    manifest = manifest_of(loaded.config)
    check_study(loaded, manifest, accept_changed_data=accept_changed_data)
    act = _show_plan if dry_run else _run
    act(loaded, log_level, accept_changed_data)


def _run(loaded: LoadedSweep, log_level: LogLevel, accept_changed_data: bool) -> None:
    with watched(log_level) as display:
        from chemprop_hpo.hpo.sweep import start_sweep

        hush_optuna()
        result = start_sweep(loaded, accept_changed_data=accept_changed_data, observers=(display,))
    from chemprop_hpo.hpo.commands.ensembles import go_on_to_ensembles
    from chemprop_hpo.hpo.commands.outcome import report_outcome

    report_outcome(result, loaded.config.study.storage)
    go_on_to_ensembles(result, loaded, log_level)


def _show_plan(loaded: LoadedSweep, log_level: LogLevel, accept_changed_data: bool) -> None:
    with watched(log_level):
        from chemprop_hpo.hpo.plan import plan_sweep

        hush_optuna()
        plan = plan_sweep(loaded, accept_changed_data=accept_changed_data)
    write(_plan_text(plan))


def _plan_text(plan: SweepPlan) -> str:
    from chemprop_hpo.hpo.commands.trial_tables import params_text

    samples = [f"{i}. {params_text(s)}" for i, s in enumerate(plan.samples, start=1)]
    sections = {
        "Configuration": plan.config_yaml.strip().splitlines(),
        "Data": plan.data_lines,
        "Resources": plan.resource_lines,
        "Storage": [plan.storage_line],
        "Search space": [*plan.space_tree.rstrip().splitlines(), f"size: {plan.space_size}"],
        "Sampled configurations": samples,
    }
    blocks = [
        f"{title}\n" + "\n".join(f"  {x}" for x in lines) for title, lines in sections.items()
    ]
    return "\n\n".join([*blocks, "All checks passed; nothing was started (dry run)."])
