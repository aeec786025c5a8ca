"""Tell MLflow how ensembles are made, without keeping their training waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.tracking.account import read_account
from chemprop_hpo.hpo.tracking.ensemble_log import EnsembleLog
from chemprop_hpo.hpo.tracking.fill_in import sweep_of
from chemprop_hpo.hpo.tracking.filling import now
from chemprop_hpo.hpo.tracking.outbox import Outbox
from chemprop_hpo.hpo.tracking.run_log import RunLog
from chemprop_hpo.hpo.tracking.server import (
    answers,
    connect,
    describe,
    experiment_id,
    is_away,
    quietly,
    short_patience,
)
from chemprop_hpo.hpo.tracking.wanted import BEST_SO_FAR, WantedRun
from chemprop_hpo.hpo.tracking.wanted_ensembles import (
    ensemble_mark,
    ensemble_name,
    ensemble_params,
    place_tags,
)
from chemprop_hpo.hpo.tracking.wanted_members import MemberRuns, mark_of
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.members import MemberKey, read_members
from chemprop_hpo.storage.outages import unless_away
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import trial_records

__all__ = ["EnsembleRuns", "Making"]

_log = logging.getLogger(__name__)

_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}


@dataclass(frozen=True)
class Making:
    """What is made.

    Attributes
    ----------
    folder : Path
        Where the predictors go.
    ranks : mapping of int to int
        The trial of each rank.
    members : sequence of MemberKey
        All models.
    """

    folder: Path
    ranks: Mapping[int, int]
    members: Sequence[MemberKey]

    @property
    def mark(self) -> str:
        """What tells its run from all others of the study."""
        return ensemble_mark(str(self.folder), [mark_of(key) for key in self.members])


class EnsembleRuns:
    """Logs one call, on a thread of its own.

    First what the study's earlier drivers left unlogged is added. Then a run for the ensembles
    stands below the sweep's, and below it a run for each member that is trained, with the metric
    of each epoch. While the server is away, all is kept in memory and delivered in order once
    it answers.

    Parameters
    ----------
    db, study : Database, Study
    config : SweepConfig
        Says where MLflow is.
    making : Making
    retry_every_s : float
        Seconds between two tries while the server is away.

    Raises
    ------
    TrackingError
        When the server cannot be reached or the experiment cannot be used, within seconds.
    """

    def __init__(
        self,
        db: Database,
        study: Study,
        config: SweepConfig,
        making: Making,
        *,
        retry_every_s: float = 3.0,
    ) -> None:
        self._db, self._study, self._config, self._making = db, study, config, making
        self._trials = {trial.number: trial for trial in trial_records(study)}
        self._members = MemberRuns(
            study.study_name, config.metric, config.mode, self._trials.values()
        )
        uri = config.mlflow.tracking_uri
        with ExitStack() as stack:
            stack.enter_context(short_patience())
            client = connect(uri)
            experiment = experiment_id(client, config.mlflow)
            # Only now: whoever meets a TrackingError above leaves nothing behind.
            self._patience = stack.pop_all()
        log = RunLog(client, experiment, sweep_of(study, config))
        self._runs = EnsembleLog(log)
        self._outbox = Outbox(
            f"MLflow at {mask_url(uri)}",
            is_away,
            describe,
            what="the training",
            answers=partial(answers, client),
            retry_every_s=retry_every_s,
        )
        log.runs.on_answer = self._outbox.note_progress
        self._send(self._runs.begin, read_account(db, study, config))

    def begun(self) -> None:
        """Be told that members are trained."""
        self._send(self._runs.open_ensemble, self._ensemble())

    def member_started(self, key: MemberKey, seed: int, max_epochs: int) -> None:
        """Be told that a member has a worker."""
        self._send(self._runs.open_member, self._member(key, seed, max_epochs))

    def member_epoch(
        self, key: MemberKey, epoch: int, value: float, best: float, seconds: float
    ) -> None:
        """Be told of an epoch."""
        metrics = {self._config.metric: value, BEST_SO_FAR: best, "epoch_seconds": seconds}
        self._send(self._runs.log_epoch, mark_of(key), epoch, metrics, now())

    def member_ended(self, key: MemberKey, state: str) -> None:
        """Be told that a member is no longer trained here; how it ended is in the database."""
        if state == "running":
            self._send(self._runs.leave_member, mark_of(key))
            return
        with unless_away():
            for record in read_members(self._db, self._study, [key]):
                if record.state == state:  # else it is not written yet, and told when all is made
                    self._send(self._runs.end_member, self._members.of(record))

    def made(self) -> None:
        """Be told that all is written: figures are in the database, files in the folder."""
        with unless_away():
            account = read_account(self._db, self._study, self._config)
            self._send(self._runs.made, account)

    def close(self, reason: str) -> None:
        """End what is open, and wait until all is delivered or given up.

        Parameters
        ----------
        reason : str
            ``finished``, ``interrupted`` or ``failed``.
        """
        self._send(self._runs.end_open, reason, _STATUS.get(reason, "FAILED"), now())
        with self._patience:
            lost = self._outbox.close()
        if lost:
            _log.warning(
                "%d entries could not be logged to MLflow at %s; chemprop-hpo track adds them",
                lost,
                mask_url(self._config.mlflow.tracking_uri),
            )

    def _ensemble(self) -> WantedRun:
        making, study = self._making, self._study.study_name
        return WantedRun(
            name=ensemble_name(making.ranks),
            kind="ensemble",
            mark=making.mark,
            params=ensemble_params(making.ranks, self._trials),
            tags={"study": study, **place_tags(str(making.folder), making.ranks)},
            status="RUNNING",
            started=now(),
            ended=None,
        )

    def _member(self, key: MemberKey, seed: int, max_epochs: int) -> WantedRun:
        return WantedRun(
            name=self._members.name(key),
            kind="member",
            mark=mark_of(key),
            params=self._members.params(key, seed, max_epochs),
            tags=self._members.tags(key),
            status="RUNNING",
            started=now(),
            ended=None,
        )

    def _send(self, call: Callable[..., object], *arguments: Any) -> None:
        self._outbox.put(partial(quietly, call, *arguments))
