"""``registry candidate``: retrain the chosen configuration, and register it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.ensembles import Select, Wish, train_shown
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
from chemprop_hpo.hpo.commands.registry.lines import rule_lines, say_settled
from chemprop_hpo.hpo.commands.registry.opening import OpenRegistry, configured, opened

if TYPE_CHECKING:
    from chemprop_hpo.configs.schema import SweepConfig
    from chemprop_hpo.hpo.ensembles.run import EnsembleResult
    from chemprop_hpo.hpo.promotion.candidate import Candidate

HELP = """\
Retrain the best configuration that does not overfit, and register it as the candidate.

The configuration is chosen by the rule `stable`: the lowest best_val_rmse among trials whose
generalisation gap is acceptable and whose val_r2 is close to the best (of a classification the
best value, and val_roc_auc). It is trained from scratch as its trial was, with the same split, seed
and schedule, and stops at the trial's best epoch. Then it is scored on the test rows, logged as
an MLflow run of its own, and registered if its figures allow it and its weights were never rolled
back. There is one candidate at a time.

With `--ensemble DIR` nothing is trained: the ensemble in DIR, as `chemprop-hpo ensembles` wrote
it, is registered instead.

\b
Examples:
  chemprop-hpo registry candidate --study esol
  chemprop-hpo registry candidate --ensemble studies/esol/ensembles
  chemprop-hpo registry candidate promotion.max_generalisation_gap=0.5

\b
Exit codes: 0 registered, 1 not allowed (each rule says why) or another was quicker,
2 something to put right.
"""

SAME_WITHIN = 1e-3
"""Share of a value by which two trainings of one trial may differ unsaid."""

EnsembleFolder = Annotated[
    Path | None,
    typer.Option("--ensemble", metavar="DIR", help="Register this ensemble; train nothing."),
]
Rule = Annotated[
    Select | None,
    typer.Option("--select", case_sensitive=False, help="How the configuration is chosen."),
]


def candidate(
    overrides: Overrides = None,
    ensemble: EnsembleFolder = None,
    select: Rule = None,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    accept_changed_data: AcceptChangedData = False,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Train or take a model, register it, and say what came of it."""
    loaded = configured(study, storage, overrides)
    if ensemble is not None and select is not None:
        raise UsageError(
            "--select chooses what is trained, and --ensemble trains nothing; keep one"
        )
    with opened(loaded, begins=True) as found:
        from chemprop_hpo.hpo.promotion.candidate import check_registry, register_candidate

        say_settled(check_registry(found.registry, found.ledger, found.config))
        _say_what_is_new(found)
        if ensemble is None:
            _warn_of_code(found.config)
        predictor = ensemble or _trained(
            study or loaded.config.study_name,
            storage,
            overrides,
            select,
            accept_changed_data,
            log_level,
        )
        made = register_candidate(found.registry, found.ledger, found.config, _inside(predictor))
    _say(made, found.registry.name, found.config.study_name)
    if not made.decision.allowed:
        raise typer.Exit(1)


def _trained(
    study: str,
    storage: str,
    overrides: list[str] | None,
    select: Select | None,
    accept_changed_data: bool,
    log_level: LogLevel,
) -> Path:
    from chemprop_hpo.hpo.commands.ensembles import loaded_with_data

    loaded = loaded_with_data(study, storage, list(overrides or ()), accept_changed_data)
    folder = loaded.config.study_folder.absolute() / "candidate"
    wish = Wish(
        1,
        select or Select.STABLE,
        output=folder,
        accept_changed_data=accept_changed_data,
        retry_failed=True,
        as_swept=True,
    )
    result = train_shown(loaded, wish, log_level)
    _compare(result, loaded.config.metric)
    return result.folder


def _say_what_is_new(found: OpenRegistry) -> None:
    if not found.registry.versions():
        where = mask_url(found.config.mlflow.tracking_uri)
        note(f"the registered model '{found.registry.name}' has no version at {where} yet")


def _warn_of_code(config: SweepConfig) -> None:
    """Say before hours of training that `promote` will block what comes of them."""
    from chemprop_hpo.hpo.ensembles.members.origin import present_origin

    code = present_origin()
    if code.commit is None:
        note(
            "this folder is in no git repository with a commit, and promote will say that the git "
            "commit is not logged; train where the sweep's file is committed"
        )
    elif code.dirty is not False and not config.promotion.allow_dirty:
        what = "the code here has uncommitted changes"
        if code.dirty is None:
            what = "whether the code here has uncommitted changes is not known"
        note(
            f"{what}, and promote will block what is trained on it; commit them first, or set "
            "promotion.allow_dirty: true"
        )


def _compare(result: EnsembleResult, metric: str) -> None:
    """Say where the new training did not give what the trial had."""
    (taken,) = [decision.trial for decision in result.decisions if decision.taken]
    (again,) = [member.value for member in result.content.members]
    if taken.value is None or again is None:
        return
    if abs(again - taken.value) > SAME_WITHIN * abs(taken.value):
        note(
            f"{metric} is {again:.4g}, and trial {taken.number} had {taken.value:.4g}: max_epochs, "
            "the number of threads or the packages have changed, or a GPU was used"
        )


def _inside(folder: Path) -> Path:
    """Return the predictor itself: of several the combination."""
    combined = folder / "combined"
    return combined if combined.is_dir() else folder


def _say(made: Candidate, name: str, study: str) -> None:
    for line in rule_lines(made.decision):
        say(line)
    if made.version is None:
        note(f"not registered; the figures are in MLflow run {made.run_id}")
        if any(rule.name == "rolled_back" for rule in made.decision.blocked):
            note(_instead(study))
        return
    if made.is_champion:
        say(f"version {made.version} of '{name}' is this model, and the champion already")
        return
    if not made.is_new:
        note(f"the same model is registered already, as version {made.version}")
    instead = f" in place of version {made.replaced}" if made.replaced else ""
    say(f"version {made.version} of '{name}' is the candidate{instead}")
    say("next: chemprop-hpo registry promote --dry-run")


def _instead(study: str) -> str:
    return (
        "what was rolled back does not come again: choose another configuration with --select, "
        "take an ensemble with --ensemble DIR, or search on with: "
        f"chemprop-hpo resume --study {study} --num-samples N"
    )
