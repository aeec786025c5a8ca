"""Find, create, write to and end MLflow's runs; every call may be repeated."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.store.entities import PagedList

from chemprop_hpo.hpo.tracking.metric_names import accepted_names

__all__ = ["TAG", "Runs", "Step", "flat", "shown_param", "shown_tag"]

TAG = "chemprop_hpo"
"""Before the dot of every tag that is ours."""

_log = logging.getLogger(__name__)

# What MLflow accepts in one call, and in one value.
_MAX_ENTRIES = 100
_MAX_TOGETHER = 1000  # metrics, parameters and tags
_MAX_PARAM_LENGTH = 6000
_MAX_TAG_LENGTH = 5000
_PAGE = 100  # runs with all that they hold: more would take a server seconds

_T = TypeVar("_T")


class Step(NamedTuple):
    """What is logged of a run at one step."""

    step: int
    metrics: Mapping[str, float]
    """Those that are not finite are left out."""
    at: int
    """Milliseconds since 1970."""


class Runs:
    """The runs of one experiment.

    Times are milliseconds since 1970, and come from the caller: what is delivered late still
    carries the time at which it happened.

    Parameters
    ----------
    client : MlflowClient
        A client of the tracking store.
    experiment : str
        Id of the experiment.
    """

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client = client
        self._experiment = experiment
        self._original_names: dict[str, str] = {}
        self.on_answer: Callable[[], None] = lambda: None
        """Called whenever the store has answered."""

    def find(self, condition: str) -> Run | None:
        """Return the oldest run for which MLflow's filter holds."""
        found = self._page(condition, 1, None)
        return found[0] if found else None

    def find_all(self, condition: str) -> list[Run]:
        """Return every run for which MLflow's filter holds, the oldest first."""
        found: list[Run] = []
        token = None
        while True:
            page = self._page(condition, _PAGE, token)
            found += page
            if not (token := page.token):
                return found

    def get(self, run_id: str) -> Run:
        """Return a run as it stands now."""
        return self._answer(self.client.get_run(run_id))

    def create(self, name: str, tags: Mapping[str, Any], at: int) -> Run:
        """Begin a run, with its first tags, a hundred at most; None is left out."""
        first = {tag.key: tag.value for tag in _tags(tags)}
        return self._answer(self.client.create_run(self._experiment, at, first, run_name=name))

    def delete(self, run: Run) -> None:
        """Delete a run that was made once too often."""
        self.client.delete_run(run.info.run_id)
        self.on_answer()

    def set_running(self, run: Run) -> str:
        """Let a run that was ended go on, and return its id."""
        run_id = str(run.info.run_id)
        if run.info.status != "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
            self.on_answer()
        return run_id

    def end(self, run_id: str, status: str, at: int) -> None:
        """End a run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self.client.set_terminated(run_id, status, end_time=at)
        self.on_answer()

    def set_params(self, run_id: str, params: Mapping[str, Any], known: Mapping[str, str]) -> int:
        """Give a run parameters; those that it has keep their value. Return how many were new."""
        new = _params(params, known)
        for batch in _batches(new, _MAX_ENTRIES):
            self._log(run_id, params=batch)
        return len(new)

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Give a run tags; None is left out."""
        for batch in _batches(_tags(tags), _MAX_ENTRIES):
            self._log(run_id, tags=batch)

    def log_metrics(
        self, run_id: str, names_on: str, metrics: Mapping[str, float], step: int, at: int
    ) -> None:
        """Log metrics of a run at a step; the same at the same time count once.

        Parameters
        ----------
        run_id : str
        names_on : str
            The run whose tags say what a name that MLflow refuses was called.
        metrics : mapping of str to float
            Those that are not finite are left out.
        step : int
        at : int
            Milliseconds since 1970.
        """
        self.log_steps(run_id, names_on, [Step(step, metrics, at)])

    def log_steps(
        self,
        run_id: str,
        names_on: str,
        steps: Iterable[Step],
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Log metrics of several steps in few requests, as `log_metrics` does one.

        Tags, a hundred at most, and parameters that the run has not go with the last of them; of
        more than a hundred parameters, the rest goes before it.
        """
        given = [(n, float(value), step) for step in steps for n, value in step.metrics.items()]
        finite = [entry for entry in given if math.isfinite(entry[1])]
        if dropped := {name for name, value, _ in given if not math.isfinite(value)}:
            _log.debug("not logged, since not finite: %s", ", ".join(sorted(dropped)))
        shown = accepted_names(dict.fromkeys(name for name, _, _ in finite))
        self._remember_names(names_on, shown)
        entries = [Metric(shown[name], value, step.at, step.step) for name, value, step in finite]
        first, last = _last_apart(entries, _MAX_TOGETHER - 2 * _MAX_ENTRIES)
        for some in _batches(first, _MAX_TOGETHER):
            self._log(run_id, metrics=some)
        new = _params(params or {}, known={})
        for more in _batches(new[_MAX_ENTRIES:], _MAX_ENTRIES):
            self._log(run_id, params=more)
        self._log(run_id, last, new[:_MAX_ENTRIES], _tags(tags or {}))

    def steps_of(self, run_id: str, name: str) -> set[int]:
        """Return the steps at which a metric was logged."""
        history = self._answer(self.client.get_metric_history(run_id, name))
        return {metric.step for metric in history}

    def _page(self, condition: str, size: int, token: str | None) -> PagedList[Run]:
        order = ["attributes.start_time ASC"]  # equal starts follow the run's id
        page = self.client.search_runs(
            [self._experiment], condition, max_results=size, order_by=order, page_token=token
        )
        return self._answer(page)

    def _answer(self, answer: _T) -> _T:
        self.on_answer()
        return answer

    def _log(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
    ) -> None:
        if metrics or params or tags:
            self._answer(self.client.log_batch(run_id, metrics, params, tags, synchronous=True))

    def _remember_names(self, run_id: str, shown: Mapping[str, str]) -> None:
        new = {
            accepted: name
            for name, accepted in shown.items()
            if accepted != name and accepted not in self._original_names
        }
        if new:
            self.set_tags(run_id, {f"{TAG}.name.{k}": v for k, v in new.items()})
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


def shown_param(value: Any) -> str:
    """Return a parameter's value as MLflow keeps it."""
    return _cut(_text(value), _MAX_PARAM_LENGTH)


def shown_tag(value: Any) -> str:
    """Return a tag's value as MLflow keeps it."""
    return _cut(_text(value), _MAX_TAG_LENGTH)


def _params(params: Mapping[str, Any], known: Mapping[str, str]) -> list[Param]:
    """Return what is not known: MLflow refuses to write a parameter anew."""
    shown = accepted_names(params)
    there = {shown[name]: value for name, value in params.items() if shown[name] not in known}
    return [Param(name, shown_param(value)) for name, value in there.items()]


def _tags(tags: Mapping[str, Any]) -> list[RunTag]:
    shown = accepted_names(tags)
    there = {name: value for name, value in tags.items() if value is not None}
    return [RunTag(shown[name], shown_tag(value)) for name, value in there.items()]


def _batches(entries: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for begin in range(0, len(entries), size):
        yield entries[begin : begin + size]


def _last_apart(entries: list[_T], size: int) -> tuple[list[_T], list[_T]]:
    """Return all entries but the last ones, and these: ``size`` at most."""
    begin = max(len(entries) - size, 0)
    return entries[:begin], entries[begin:]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
