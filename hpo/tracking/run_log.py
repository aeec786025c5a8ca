"""One sweep as MLflow runs: a parent, and a nested run for each trial."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from chemprop_hpo.hpo.tracking.metric_names import accepted_names

__all__ = ["TAG", "RunLog", "flat"]

TAG = "chemprop_hpo"
"""Before the dot of every tag that is ours."""

_log = logging.getLogger(__name__)

# What MLflow accepts in one call, and in one value.
_MAX_ENTRIES = 100
_MAX_METRICS = 1000
_MAX_PARAM_LENGTH = 6000
_MAX_TAG_LENGTH = 5000

_T = TypeVar("_T")


class RunLog:
    """Writes the runs of one sweep. Every method may be repeated after it failed half-way.

    Times are milliseconds since 1970, and come from the caller: what is delivered late still
    carries the time at which it happened.

    Parameters
    ----------
    client : MlflowClient
        A client of the tracking store.
    experiment : str
        Id of the experiment.
    key : str
        What tells this study from all others; only letters and digits.
    """

    def __init__(self, client: MlflowClient, experiment: str, key: str) -> None:
        self._client = client
        self._experiment = experiment
        self._key = key
        self._open: set[int] = set()
        self._original_names: dict[str, str] = {}
        self.parent: str | None = None
        self.trials: dict[int, str] = {}

    def open_parent(self, name: str, tags: Mapping[str, Any], resumed: bool, at: int) -> None:
        """Create the parent run, or set the one of an earlier driver back to running."""
        found = self._find(f"tags.`{TAG}.key` = '{self._key}'") if resumed else None
        if found is None:
            # A repeated call finds the run that the failed one left behind.
            found = self._find(f"tags.`{TAG}.key` = '{self._key}' and attributes.start_time = {at}")
        if found is None:
            own = {f"{TAG}.key": self._key, f"{TAG}.kind": "sweep"}
            found = self._create(name, own, at)
        self.parent = self._running(found)
        self._set_tags(self.parent, tags)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Give the parent its parameters; those that it has keep their first value."""
        run_id = self._parent()
        known = self._client.get_run(run_id).data.params
        self._set_params(run_id, params, known)

    def log_file(self, name: str, text: str) -> None:
        """Keep a text as an artifact of the parent."""
        self._client.log_text(self._parent(), text, name)

    def open_trial(
        self, number: int, params: Mapping[str, Any], tags: Mapping[str, Any], at: int
    ) -> None:
        """Create the nested run of a trial, or go on with it."""
        own = {MLFLOW_PARENT_RUN_ID: self._parent(), f"{TAG}.trial": str(number)}
        found = self._find_trial(number) or self._create(f"trial {number}", own, at)
        run_id = self._running(found)
        self._set_params(run_id, params, found.data.params)
        self._set_tags(run_id, tags)
        self.trials[number] = run_id
        self._open.add(number)

    def close_orphan(self, number: int, successor: int, at: int) -> None:
        """End the run that a driver which is gone left running, and name who goes on with it."""
        found = self._find_trial(number)
        if found is None:
            return
        self._set_tags(found.info.run_id, {f"{TAG}.continued_by": successor})
        if found.info.status == "RUNNING":
            lost = {f"{TAG}.state": "FAIL", f"{TAG}.stop_reason": "orphaned"}
            self._set_tags(found.info.run_id, lost)
            self._client.set_terminated(found.info.run_id, "KILLED", end_time=at)

    def log_metrics(
        self, number: int | None, metrics: Mapping[str, float], step: int, at: int
    ) -> None:
        """Log metrics of a trial, or of the parent, at a step; repeated, they count once."""
        run_id = self._parent() if number is None else self.trials[number]
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if dropped := metrics.keys() - finite.keys():
            _log.debug("not logged, since not finite: %s", ", ".join(sorted(dropped)))
        shown = accepted_names(finite)
        self._remember_names(shown)
        entries = iter([Metric(shown[name], value, at, step) for name, value in finite.items()])
        while batch := list(islice(entries, _MAX_METRICS)):
            self._client.log_batch(run_id, metrics=batch, synchronous=True)

    def end_trial(self, number: int, tags: Mapping[str, Any], status: str, at: int) -> None:
        """End a trial's run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._end(self.trials[number], tags, status, at)
        self._open.discard(number)

    def end_open_trials(self, tags: Mapping[str, Any], status: str, at: int) -> None:
        """End the runs of all trials that nobody ended."""
        for number in sorted(self._open):
            self.end_trial(number, tags, status, at)

    def end_parent(self, tags: Mapping[str, Any], status: str, at: int) -> None:
        """End the parent run."""
        self._end(self._parent(), tags, status, at)

    def _parent(self) -> str:
        if self.parent is None:
            raise LookupError("the sweep has no parent run")
        return self.parent

    def _find(self, condition: str) -> Run | None:
        found = self._client.search_runs(
            [self._experiment], condition, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return found[0] if found else None

    def _find_trial(self, number: int) -> Run | None:
        parent = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent()}'"
        return self._find(f"{parent} and tags.`{TAG}.trial` = '{number}'")

    def _create(self, name: str, tags: dict[str, str], at: int) -> Run:
        return self._client.create_run(self._experiment, at, tags, run_name=name)

    def _running(self, run: Run) -> str:
        run_id = str(run.info.run_id)
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _end(self, run_id: str, tags: Mapping[str, Any], status: str, at: int) -> None:
        self._set_tags(run_id, tags)
        self._client.set_terminated(run_id, status, end_time=at)

    def _set_params(self, run_id: str, params: Mapping[str, Any], known: Mapping[str, str]) -> None:
        shown = accepted_names(params)
        entries = (
            Param(shown[name], _cut(_text(value), _MAX_PARAM_LENGTH))
            for name, value in params.items()
            if shown[name] not in known  # MLflow refuses to write a parameter anew
        )
        for batch in _batches(entries):
            self._client.log_batch(run_id, params=batch, synchronous=True)

    def _set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        shown = accepted_names(tags)
        entries = (
            RunTag(shown[name], _cut(_text(value), _MAX_TAG_LENGTH))
            for name, value in tags.items()
            if value is not None
        )
        for batch in _batches(entries):
            self._client.log_batch(run_id, tags=batch, synchronous=True)

    def _remember_names(self, shown: Mapping[str, str]) -> None:
        """Say on the parent what a name that MLflow refused was called."""
        new = {
            accepted: name
            for name, accepted in shown.items()
            if accepted != name and accepted not in self._original_names
        }
        if new:
            self._set_tags(self._parent(), {f"{TAG}.name.{k}": v for k, v in new.items()})
            self._original_names |= new


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with the keys joined by dots."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _batches(entries: Iterator[_T]) -> Iterator[list[_T]]:
    while batch := list(islice(entries, _MAX_ENTRIES)):
        yield batch


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
