"""``track``: tell MLflow what a study knows and MLflow does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.commands.console import errors, say
from chemprop_hpo.hpo.commands.logs import hush_optuna, show_log
from chemprop_hpo.hpo.commands.opening import OpenStudy, existing_study
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

if TYPE_CHECKING:
    from chemprop_hpo.configs.schema import SweepConfig
    from chemprop_hpo.hpo.tracking.filling import Added

__all__ = ["HELP", "track"]

HELP = """\
Log to MLflow what it lacks of a study.

A sweep logs as it runs. What could not be logged then, because the process was killed, the
server was away, a bucket refused files, or `mlflow.tracking` was false, is added from the
study: runs of trials, ensembles and their models, the running best of each epoch, figures,
artifacts. Runs that a killed process left RUNNING are ended. What a sweep is at work on is left
to it. Nothing is logged twice.

\b
Examples:
  chemprop-hpo track
  chemprop-hpo track --study esol --storage sqlite:///lab.db
  chemprop-hpo track mlflow.tracking_uri=http://127.0.0.1:5000

\b
Exit codes: 0 done, 1 failed, 2 something to put right.
"""

_WORDS = {
    "runs": ("run", "runs"),
    "params": ("parameter", "parameters"),
    "steps": ("epoch", "epochs"),
    "figures": ("figure", "figures"),
    "tags": ("tag", "tags"),
    "artifacts": ("artifact", "artifacts"),
}


def track(
    overrides: Overrides = None,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    log_level: Level = LogLevel.INFO,
    debug: Debug = False,
) -> None:
    """Fill in what is missing, and say what it was."""
    changes = checked_overrides(overrides)
    show_log(log_level.value, errors())
    with existing_study(study, storage) as opened:
        hush_optuna()
        config = _config(opened, storage, changes)
        from chemprop_hpo.hpo.report.searched.observations import read_observations
        from chemprop_hpo.hpo.tracking.fill_in import fill_in  # imports MLflow: seconds

        added = fill_in(opened.database, opened.study, config, read_observations=read_observations)
    say(f"MLflow at {mask_url(config.mlflow.tracking_uri)}: {_words(added)}")


def _config(opened: OpenStudy, storage: str, changes: list[str]) -> SweepConfig:
    from chemprop_hpo.configs.resuming import load_resumed

    stored = opened.record.config
    config = load_resumed(stored, changes, name=opened.name, storage=storage).config
    if not config.mlflow.tracking:
        raise UsageError(
            f"study '{opened.name}' has mlflow.tracking: false; give mlflow.tracking=true, and "
            f"mlflow.tracking_uri=URL where it is not {mask_url(config.mlflow.tracking_uri)}"
        )
    return config


def _words(added: Added) -> str:
    if not added:
        return "nothing was missing"
    counts = ((getattr(added, name), words) for name, words in _WORDS.items())
    parts = [f"{count} {words[count != 1]}" for count, words in counts if count]
    sentence = [f"added {', '.join(parts)}"] if parts else []
    if added.ended:
        sentence.append(f"ended {added.ended} {'run' if added.ended == 1 else 'runs'}")
    if added.unkept:
        files = "artifact" if added.unkept == 1 else "artifacts"
        sentence.append(f"{added.unkept} {files} could not be stored")
    return "; ".join(sentence)
