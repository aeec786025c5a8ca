"""Have MLflow told what becomes of ensembles, where the configuration asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.combining.candidates import COMBINED
from chemprop_hpo.hpo.ensembles.members.assignment import TrainingInterruptedError
from chemprop_hpo.hpo.ensembles.members.events import (
    MemberEnded,
    MemberEpoch,
    MemberObserver,
    MembersEnded,
    MembersStarted,
    MemberStarted,
)
from chemprop_hpo.hpo.ensembles.plan import EnsemblePlan
from chemprop_hpo.hpo.ensembles.results.content import Findings
from chemprop_hpo.hpo.ensembles.results.records import predictor_record
from chemprop_hpo.hpo.ensembles.trained import Trained
from chemprop_hpo.hpo.trial.interrupts import Stopped
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.member_records import MemberKey
from chemprop_hpo.storage.studies import Study

if TYPE_CHECKING:
    from chemprop_hpo.hpo.tracking.ensemble_runs import EnsembleRuns

__all__ = ["Tracked", "tracked", "tracked_record"]


class Tracked:
    """Whoever logs ensembles, or nobody.

    Parameters
    ----------
    runs : EnsembleRuns or None
    keys : sequence of MemberKey
        Of all members.
    """

    def __init__(self, runs: EnsembleRuns | None, keys: Sequence[MemberKey]) -> None:
        self._runs = runs
        self.observers: tuple[MemberObserver, ...] = () if runs is None else (_Teller(runs, keys),)
        """To be told how the members are trained."""

    def made(self) -> None:
        """Be told that figures are in the database and files in the folder."""
        if self._runs is not None:
            self._runs.made()


@contextmanager
def tracked(
    db: Database, study: Study, config: SweepConfig, plan: EnsemblePlan, folder: Path
) -> Iterator[Tracked]:
    """Log to MLflow what happens meanwhile; no run is left running afterwards.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or used; nothing has begun then.
    """
    keys = [job.key for job in plan.jobs]
    if not config.mlflow.tracking:
        yield Tracked(None, keys)
        return
    from chemprop_hpo.hpo.tracking.ensemble_runs import EnsembleRuns, Making  # seconds to import

    ranks = {rank: trial for trial, rank in plan.ranks.items()}
    runs = EnsembleRuns(db, study, config, Making(folder, ranks, keys))
    reason = "failed"
    try:
        yield Tracked(runs, keys)
        reason = "finished"
    except (TrainingInterruptedError, KeyboardInterrupt, Stopped):
        reason = "interrupted"
        raise
    finally:
        runs.close(reason)


def tracked_record(
    config: SweepConfig, plan: EnsemblePlan, findings: Findings, trained: Sequence[Trained]
) -> dict[str, Any]:
    """Return what the database is to remember so that MLflow can be told at any later time.

    ``metrics`` are those of the combination, and those of each other candidate below its name,
    as in ``rank_1/test_rmse``; ``keys`` tell the members.
    """
    records = {
        one.name: predictor_record(config, findings, one, plan.data, trained)
        for one in findings.candidates
    }
    origin = records[COMBINED]["provenance"]
    return {
        "keys": [list(job.key) for job in plan.jobs],
        "metrics": _metrics({name: one["metrics"] for name, one in records.items()}),
        "git": {"commit": origin["git_commit"], "dirty": origin["dirty"]},
        "dataset": origin["dataset"],
        "test_set": records[COMBINED]["test_set"],
        "data": {
            name: {key: print_[key] for key in ("sha256", "rows") if key in print_}
            for name, print_ in plan.data.items()
        },
    }


def _metrics(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        (name if candidate == COMBINED else f"{candidate.replace(' ', '_')}/{name}"): value
        for candidate, metrics in found.items()
        for name, value in metrics.items()
    }


class _Teller:
    """A ``MemberObserver`` that tells whoever logs which member it was."""

    def __init__(self, runs: EnsembleRuns, keys: Sequence[MemberKey]) -> None:
        self._runs = runs
        self._keys = {key[:3]: key for key in keys}

    def members_started(self, event: MembersStarted) -> None:
        self._runs.begun()

    def member_started(self, event: MemberStarted) -> None:
        self._runs.member_started(self._key(event), event.seed, event.max_epochs)

    def member_epoch(self, event: MemberEpoch) -> None:
        values = event.epoch, event.value, event.best, event.seconds
        self._runs.member_epoch(self._key(event), *values)

    def member_ended(self, event: MemberEnded) -> None:
        self._runs.member_ended(self._key(event), event.state)

    def tick(self) -> None:
        pass

    def members_ended(self, event: MembersEnded) -> None:
        pass

    def _key(self, event: MemberStarted | MemberEpoch | MemberEnded) -> MemberKey:
        return self._keys[event.trial, event.split, event.fold]
