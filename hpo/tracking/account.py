"""What a study says of itself that MLflow ought to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.tracking.best_configs import top_metrics, winners_yaml
from chemprop_hpo.hpo.tracking.wanted import WantedRun
from chemprop_hpo.hpo.tracking.wanted_ensembles import wanted_ensembles
from chemprop_hpo.hpo.tracking.wanted_members import MemberRuns
from chemprop_hpo.hpo.tracking.wanted_trials import wanted_trials
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import Roster
from chemprop_hpo.storage.ensembles import list_ensembles
from chemprop_hpo.storage.members import read_members
from chemprop_hpo.storage.records import read_record
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import TrialRecord, best_trials, counts, trial_records

__all__ = ["Account", "Best", "read_account", "read_best"]


@dataclass(frozen=True)
class Best:
    """The best configurations of a study, as far as there are any.

    Attributes
    ----------
    metrics : mapping of str to float
        ``top_<i>_val_loss`` and ``top_<i>_<metric>``, i from 1, and ``best_value``.
    file : str or None
        A configuration that trains them.
    step : int
        How many trials had finished.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None
    step: int = 0


@dataclass(frozen=True)
class Account:
    """All of it, as it stood at one moment.

    Attributes
    ----------
    trials, members, ensembles : list of WantedRun
        Those that nobody works on.
    best : Best
    tags : mapping
        Of the sweep's own run once nobody works on it, without our prefix.
    status : str
        Of that run then.
    at_work : bool
        Whether a driver works on the study.
    """

    trials: list[WantedRun]
    members: list[WantedRun]
    ensembles: list[WantedRun]
    best: Best
    tags: Mapping[str, Any]
    status: str
    at_work: bool


def read_account(db: Database, study: Study, config: SweepConfig) -> Account:
    """Read a study for MLflow; nothing is written.

    Parameters
    ----------
    db, study : Database, Study
    config : SweepConfig
        Says how many of the best are wanted, and how many trials the study is to have.
    """
    # The drivers last: whoever has ended a trial meanwhile is among them still.
    trials, members = trial_records(study), read_members(db, study)
    made, name = list_ensembles(db, study), study.study_name
    roster = Roster.of(db, study)
    runs = MemberRuns(name, config.metric, config.mode, trials)
    found, number = counts(study), _best_number(study)
    return Account(
        trials=wanted_trials(study, roster.is_gone),
        members=runs.idle(members, roster.is_gone),
        ensembles=wanted_ensembles(name, made, members, trials),
        best=read_best(study, config),
        tags={"best_trial": number, **{f"trials.{state}": n for state, n in found.items()}},
        status="FINISHED" if _has_all(study, config.num_samples) else "KILLED",
        at_work=bool(roster.live()),
    )


def read_best(study: Study, config: SweepConfig) -> Best:
    """Return the best ``transfer_learning.top_k`` configurations, equal ones counted once."""
    best = _best(study, config.transfer_learning.top_k)
    if not best:
        return Best()
    record = read_record(study)
    metrics = top_metrics(record.metric, best) | _best_value(best[0])
    found = counts(study)
    finished = sum(found[state] for state in ("COMPLETE", "PRUNED", "FAIL"))
    return Best(metrics, winners_yaml(study.study_name, record, best), finished)


def _best_value(trial: TrialRecord) -> dict[str, float]:
    return {} if trial.value is None else {"best_value": trial.value}


def _best(study: Study, k: int) -> list[TrialRecord]:
    complete = [trial.params for trial in trial_records(study) if trial.state == "COMPLETE"]
    distinct = [p for i, p in enumerate(complete) if p not in complete[:i]]
    wanted = min(k, len(distinct))
    return best_trials(study, wanted, distinct=True) if wanted else []


def _best_number(study: Study) -> int | None:
    best = _best(study, 1)
    return best[0].number if best else None


def _has_all(study: Study, num_samples: int) -> bool:
    """Whether each trial of the budget was finished and not only stopped."""
    done = [
        trial
        for trial in trial_records(study)
        if trial.state in {"COMPLETE", "PRUNED", "FAIL"} and trial.continued_by is None
    ]
    return len(done) >= num_samples
