"""Tell MLflow how a sweep goes: a parent run, and a nested run for each trial."""

from __future__ import annotations

import atexit
import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import Any

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.events import (
    EpochEnded,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialStarted,
)
from chemprop_hpo.hpo.tracking.account import Account, Best
from chemprop_hpo.hpo.tracking.filling import now
from chemprop_hpo.hpo.tracking.observations import Observations, observed
from chemprop_hpo.hpo.tracking.outbox import Outbox
from chemprop_hpo.hpo.tracking.run_log import RunLog
from chemprop_hpo.hpo.tracking.runs import TAG, Step
from chemprop_hpo.hpo.tracking.server import (
    answers,
    check_reachable,
    connect,
    describe,
    experiment_id,
    is_away,
    quietly,
    short_patience,
)
from chemprop_hpo.hpo.tracking.sweep_run import describe_sweep
from chemprop_hpo.hpo.tracking.wanted import BEST_SO_FAR, best_figures, status_of
from chemprop_hpo.storage.outages import unless_away

__all__ = ["MlflowObserver", "check_reachable"]

_log = logging.getLogger(__name__)

GATHER_S = 2.0
"""Seconds for which parameters and epochs of a trial are gathered before they are sent."""
_SWEEP_STATUS = {"finished": "FINISHED", "time_budget": "FINISHED", "interrupted": "KILLED"}


class MlflowObserver:
    """An observer that writes what it is told to MLflow, on a thread of its own.

    A sweep is one parent run, named after the study, and one nested run a trial, with the metrics
    of each epoch (step = epoch); those of a trial that end within `GATHER_S` of each other go in
    one request, since each costs the server, or this process, many times an epoch's report. What
    a kill takes from memory is filled in by ``resume`` or ``track``, as far as the study keeps it:
    of the last `GATHER_S` the best value so far, and not each metric. The metrics of the best
    epoch are logged again under ``best/``. A resumed sweep goes on with its earlier parent run.
    While the server is away, events are kept in memory and delivered in order once it answers.

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
    created : str
        When the study was created.
    read_account, read_best, read_observations : callable, optional
        What the study says of itself when the sweep begins, so that what an earlier driver left
        unlogged is filled in; of its best trials when it ends; and of its parameters when the
        sweep has ended by itself.
    others_at_work : callable, optional
        Whether other drivers work on the study still when this one leaves.
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
        created: str,
        read_account: Callable[[], Account] | None = None,
        read_best: Callable[[], Best] | None = None,
        read_observations: Callable[[], Observations] | None = None,
        others_at_work: Callable[[], bool] = lambda: False,
        retry_every_s: float = 3.0,
    ) -> None:
        self._config, self._study = config, study
        self._sweep = describe_sweep(config, study, config_stored, manifest, space, created)
        self._read_account, self._read_best = read_account, read_best
        self._read_observations, self._others_at_work = read_observations, others_at_work
        self._last_epoch: dict[int, int] = {}
        self._gathered: dict[int, list[Step]] = {}
        self._due: dict[int, float] = {}
        """When what is gathered of a trial must be delivered, the first to be so first."""
        self._runs: RunLog | None = None
        with ExitStack() as stack:
            stack.enter_context(short_patience())
            self._client = connect(config.tracking_uri)
            self._experiment = experiment_id(self._client, config)
            # Only now: whoever meets a TrackingError above leaves nothing behind.
            self._patience = stack.pop_all()
        server = f"MLflow at {mask_url(config.tracking_uri)}"
        self._outbox = Outbox(
            server,
            is_away,
            describe,
            answers=partial(answers, self._client),
            retry_every_s=retry_every_s,
        )
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
        runs = RunLog(self._client, self._experiment, self._sweep)
        runs.runs.on_answer = self._outbox.note_progress
        self._runs = runs
        at = now()
        self._send(runs.open_parent, _sweep_tags(event), at)
        self._send(runs.log_files, event.resumed, at)
        if self._read_account is not None and event.resumed:
            with unless_away():
                self._send(runs.fill, self._read_account())

    def trial_started(self, event: TrialStarted) -> None:
        """Open the nested run of a trial."""
        if (runs := self._runs) is None:
            return
        at = now()
        self._last_epoch.setdefault(event.number, 0)
        params = {**event.params, "seed": event.seed}
        tags = {f"{TAG}.study": self._study, f"{TAG}.head": event.head}
        if event.continues is not None:
            tags[f"{TAG}.continues"] = str(event.continues)
            self._send(runs.close_orphan, event.continues, event.number, params, at)
        self._send(runs.open_trial, event.number, params, tags, at)
        self._gather(event.number)

    def epoch_ended(self, event: EpochEnded) -> None:
        """Log the metrics of an epoch; one that was logged before is not logged again."""
        before = self._last_epoch.get(event.number)
        if self._runs is None or before is None or event.epoch <= before:
            return
        self._last_epoch[event.number] = event.epoch
        metrics = dict(event.metrics)
        metrics |= {BEST_SO_FAR: event.best, "epoch_seconds": event.seconds}
        self._gather(event.number, Step(event.epoch, metrics, now()))
        self.tick()

    def trial_ended(self, event: TrialEnded) -> None:
        """Log how a trial ended, and end its run; a trial that never ran has none."""
        if (runs := self._runs) is None or event.number not in self._last_epoch:
            return
        at, status = now(), status_of(event.state, event.stop_reason)
        best = best_figures(event.metrics, event.value)
        steps = self._take(event.number)
        steps.append(Step(event.best_epoch or event.epochs, best, at))
        self._send(runs.log_steps, event.number, steps, _trial_tags(event))
        self._send(runs.end_trial, event.number, status, at)

    def tick(self) -> None:
        """Hand over the parameters and epochs of each trial of which that is due."""
        if self._runs is not None:
            self._deliver(self._runs, monotonic())

    def _gather(self, number: int, *steps: Step) -> None:
        """Keep a trial's steps, none for its parameters alone, until the next delivery."""
        self._gathered.setdefault(number, []).extend(steps)
        self._due.setdefault(number, monotonic() + GATHER_S)

    def _deliver(self, runs: RunLog, now: float) -> None:
        for number in list(takewhile(lambda number: self._due[number] <= now, self._due)):
            self._send(runs.log_steps, number, self._take(number))

    def _take(self, number: int) -> list[Step]:
        self._due.pop(number, None)
        return self._gathered.pop(number, [])

    def sweep_ended(self, event: SweepEnded) -> None:
        """End every run that is still open, and wait until all is delivered or given up."""
        if self._runs is not None and not self._closed:
            self._end_runs(self._runs, event, now())
        self._close()

    def _end_runs(self, runs: RunLog, event: SweepEnded, at: int) -> None:
        self._deliver(runs, math.inf)
        left = {f"{TAG}.state": "FAIL", f"{TAG}.stop_reason": "interrupted"}
        self._send(runs.end_open_trials, left, "KILLED", at)
        counts = {f"{TAG}.trials.{state}": count for state, count in event.counts.items()}
        tags: dict[str, Any] = {f"{TAG}.best_trial": event.best_number, **counts}
        if self._are_others_at_work():  # the last of them ends the sweep's own run
            self._send(runs.tag_parent, tags)
        else:
            tags[f"{TAG}.reason"] = event.reason
            self._send(runs.end_parent, tags, _SWEEP_STATUS.get(event.reason, "FAILED"), at)
        # Artifacts come last: a bucket may be away.
        if self._read_best is not None:
            with unless_away():
                self._send(runs.log_best, self._read_best())
        if event.reason in {"finished", "time_budget"} and self._read_observations is not None:
            with unless_away():
                self._send(runs.log_observations, observed(self._read_observations))
        self._send(runs.keep_again)

    def _are_others_at_work(self) -> bool:
        others = False
        with unless_away():
            others = self._others_at_work()
        return others

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

    def _send(self, call: Callable[..., object], *arguments: Any) -> None:
        self._outbox.put(partial(quietly, call, *arguments))


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
