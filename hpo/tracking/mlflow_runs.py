"""Tell MLflow how a sweep goes: a parent run, and a nested run for each trial."""

from __future__ import annotations

import atexit
import getpass
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import yaml

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.tracking.outbox import Outbox
from chemprop_hpo.hpo.tracking.run_log import TAG, RunLog, flat
from chemprop_hpo.hpo.tracking.server import (
    absolute_uri,
    check_reachable,
    connect,
    describe,
    experiment_id,
    is_away,
    quiet,
    short_patience,
)

__all__ = ["MlflowObserver", "check_reachable"]

_log = logging.getLogger(__name__)

_STOPPED_FROM_OUTSIDE = frozenset({"interrupted", "orphaned", "time_budget"})
_SWEEP_STATUS = {"finished": "FINISHED", "time_budget": "FINISHED", "interrupted": "KILLED"}


class MlflowObserver:
    """An observer that writes what it is told to MLflow, on a thread of its own.

    A sweep is one parent run, named after the study, and one nested run a trial, with one
    `log_batch` an epoch (step = epoch). The metrics of the best epoch are logged again under
    ``best/``. A resumed sweep goes on with its earlier parent run. While the server is away,
    events are kept in memory and delivered in order once it answers.

    Parameters
    ----------
    config : MlflowConfig
        Where to log.
    study : str
        Name of the study.
    config_stored : dict
        The resolved configuration with its secrets masked, as it is stored with the study.
    manifest : dict
        What `build_manifest` returns.
    space : dict or list
        The search space, ready for JSON.
    identity : str, optional
        What tells this study from another of the same name. By default the URL of its storage.
    retry_every_s : float
        Seconds between two tries while the server is away.

    Raises
    ------
    TrackingError
        When the server cannot be reached or the experiment cannot be used, within seconds.
    """

    def __init__(
        self,
        config: MlflowConfig,
        study: str,
        config_stored: dict[str, Any],
        manifest: dict[str, Any],
        space: dict[str, Any] | list[Any],
        *,
        identity: str | None = None,
        retry_every_s: float = 3.0,
    ) -> None:
        self._config, self._study, self._identity = config, study, identity
        self._files = _files(config_stored, manifest, space)
        self._params, self._tags = flat(config_stored), _study_tags(study, manifest)
        self._last_epoch: dict[int, int] = {}
        self._runs: RunLog | None = None
        with ExitStack() as stack:
            stack.enter_context(short_patience())
            self._client = connect(config.tracking_uri)
            self._experiment = experiment_id(
                self._client, config.experiment_name, config.tracking_uri
            )
            # Only now: whoever meets a TrackingError above leaves nothing behind.
            self._patience = stack.pop_all()
        server = f"MLflow at {mask_url(config.tracking_uri)}"
        self._outbox = Outbox(server, is_away, describe, retry_every_s=retry_every_s)
        self._closed = False
        atexit.register(self._abandon)

    @property
    def parent_run_id(self) -> str | None:
        """Id of the parent run; None until the server has given one."""
        return self._runs.parent if self._runs else None

    def run_id(self, number: int) -> str | None:
        """Return the id of a trial's run; None until the server has given one."""
        return self._runs.trials.get(number) if self._runs else None

    def sweep_started(self, event: SweepStarted) -> None:
        """Open the parent run, with the configuration, the manifest and the space."""
        runs = RunLog(self._client, self._experiment, self._key(event))
        self._runs = runs
        name = self._config.run_name or self._study
        at = _now()
        self._send(runs.open_parent, name, self._tags | _sweep_tags(event), event.resumed, at)
        self._send(runs.log_params, self._params)
        folder = f"resumed_{at}/" if event.resumed else ""
        for file, text in self._files.items():
            self._send(runs.log_file, folder + file, text)

    def trial_started(self, event: TrialStarted) -> None:
        """Open the nested run of a trial."""
        if (runs := self._runs) is None:
            return
        at = _now()
        self._last_epoch.setdefault(event.number, 0)
        params = {**event.params, "seed": event.seed}
        tags = {f"{TAG}.study": self._study, f"{TAG}.head": event.head}
        if event.continues is not None:
            tags[f"{TAG}.continues"] = str(event.continues)
            self._send(runs.close_orphan, event.continues, event.number, at)
        self._send(runs.open_trial, event.number, params, tags, at)

    def epoch_ended(self, event: EpochEnded) -> None:
        """Log the metrics of an epoch; one that was logged before is not logged again."""
        before = self._last_epoch.get(event.number)
        if (runs := self._runs) is None or before is None or event.epoch <= before:
            return
        self._last_epoch[event.number] = event.epoch
        metrics = dict(event.metrics)
        metrics |= {"best_so_far": event.best, "epoch_seconds": event.seconds}
        self._send(runs.log_metrics, event.number, metrics, event.epoch, _now())

    def trial_ended(self, event: TrialEnded) -> None:
        """Log how a trial ended, and end its run; a trial that never ran has none."""
        if (runs := self._runs) is None or event.number not in self._last_epoch:
            return
        at = _now()
        metrics = {f"best/{name}": value for name, value in event.metrics.items()}
        if event.value is not None:
            metrics["best_value"] = event.value
        step = event.best_epoch or event.epochs
        self._send(runs.log_metrics, event.number, metrics, step, at)
        self._send(runs.end_trial, event.number, _trial_tags(event), _trial_status(event), at)

    def tick(self) -> None:
        """Do nothing: the thread that delivers needs no reminding."""

    def sweep_ended(self, event: SweepEnded) -> None:
        """End every run that is still open, and wait until all is delivered or given up."""
        if self._runs is not None and not self._closed:
            self._end_runs(self._runs, event, _now())
        self._close()

    def _end_runs(self, runs: RunLog, event: SweepEnded, at: int) -> None:
        left = {f"{TAG}.state": "FAIL", f"{TAG}.stop_reason": "interrupted"}
        self._send(runs.end_open_trials, left, "KILLED", at)
        if event.best is not None:
            self._send(runs.log_metrics, None, {"best_value": event.best}, 0, at)
        counts = {f"{TAG}.trials.{state}": count for state, count in event.counts.items()}
        tags = {f"{TAG}.reason": event.reason, f"{TAG}.best_trial": event.best_number} | counts
        self._send(runs.end_parent, tags, _SWEEP_STATUS.get(event.reason, "FAILED"), at)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._abandon)
        with self._patience:
            lost = self._outbox.close()
        if lost:
            where = mask_url(self._config.tracking_uri)
            _log.warning(
                "%d entries could not be logged to MLflow at %s; the study holds them all",
                lost,
                where,
            )

    def _abandon(self) -> None:
        """End the runs of a program that ends without having said so."""
        self.sweep_ended(SweepEnded(reason="failed", counts={}, best_number=None, best=None))

    def _send(self, call: Callable[..., None], *arguments: Any) -> None:
        self._outbox.put(partial(_quietly, call, *arguments))

    def _key(self, event: SweepStarted) -> str:
        identity = self._identity or absolute_uri(event.storage)
        return hashlib.sha256(f"{self._study}\n{identity}".encode()).hexdigest()[:32]


def _quietly(call: Callable[..., None], *arguments: Any) -> None:
    with quiet():
        call(*arguments)


def _files(
    config: Mapping[str, Any], manifest: Mapping[str, Any], space: dict[str, Any] | list[Any]
) -> dict[str, str]:
    return {
        "config.yaml": yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        "manifest.json": json.dumps(manifest, indent=2, default=str),
        "space.json": json.dumps(space, indent=2, default=str),
    }


def _study_tags(study: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    commit = flat(manifest).get("git.commit")
    own = {f"{TAG}.{name}": value for name, value in flat(manifest).items()}
    return own | {
        f"{TAG}.study": study,
        "mlflow.user": _user(),
        "mlflow.source.name": "chemprop-hpo",
        "mlflow.source.git.commit": commit,
    }


def _sweep_tags(event: SweepStarted) -> dict[str, Any]:
    return {
        f"{TAG}.storage": event.storage,
        f"{TAG}.metric": event.metric,
        f"{TAG}.mode": event.mode,
        f"{TAG}.num_samples": event.num_samples,
        f"{TAG}.max_epochs": event.max_epochs,
    }


def _trial_tags(event: TrialEnded) -> dict[str, Any]:
    return {
        f"{TAG}.state": event.state,
        f"{TAG}.stop_reason": event.stop_reason,
        f"{TAG}.best_epoch": event.best_epoch,
        f"{TAG}.epochs": event.epochs,
        f"{TAG}.error": event.error,
    }


def _trial_status(event: TrialEnded) -> str:
    if event.state in {"COMPLETE", "PRUNED"}:
        return "FINISHED"
    return "KILLED" if event.stop_reason in _STOPPED_FROM_OUTSIDE else "FAILED"


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without an entry in passwd
        return None


def _now() -> int:
    return time.time_ns() // 1_000_000
