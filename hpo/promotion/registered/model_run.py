"""The MLflow run of a model that is to be registered."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlflow.entities import Metric, Param, RunTag

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.promotion.decision import Decision
from chemprop_hpo.hpo.promotion.registered.registry import Registry
from chemprop_hpo.hpo.tracking.metric_names import accepted_names
from chemprop_hpo.hpo.tracking.server import experiment_id

__all__ = ["ModelRun", "finished_run", "log_verdict"]

_LONGEST_PARAM, _LONGEST_TAG, _AT_ONCE = 6000, 5000, 100


class ModelRun:
    """A run of its own in the experiment of the study; it never stays open.

    Parameters
    ----------
    registry : Registry
    config : SweepConfig
    name : str
        The run's.
    mark : mapping
        Tags by which `finished_run` finds it.

    Attributes
    ----------
    run_id : str
    """

    def __init__(
        self, registry: Registry, config: SweepConfig, name: str, mark: Mapping[str, str]
    ) -> None:
        self._registry, self._client = registry, registry.client
        with registry.clear_errors():
            number = experiment_id(self._client, config.mlflow)
            tags = {"chemprop_hpo.study": config.study_name, "mlflow.source.name": "chemprop-hpo"}
            run = self._client.create_run(number, tags={**tags, **mark}, run_name=name)
        self.run_id = str(run.info.run_id)

    def log(
        self,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """Log what describes the model; names that MLflow refuses are changed."""
        now = int(time.time() * 1000)
        shown = accepted_names([*params, *metrics])
        entries: list[Param | Metric | RunTag] = [
            *(Param(shown[name], _text(value)) for name, value in params.items()),
            *(
                Metric(shown[name], float(value), now, 0)
                for name, value in metrics.items()
                if math.isfinite(value)
            ),
            *(RunTag(name, value[:_LONGEST_TAG]) for name, value in tags.items()),
        ]
        with self._registry.clear_errors():
            for start in range(0, len(entries), _AT_ONCE):
                self._log_some(entries[start : start + _AT_ONCE])

    def log_folder(self, folder: Path) -> None:
        """Keep everything in a folder as artifacts."""
        with self._registry.clear_errors(copying=True):
            self._client.log_artifacts(self.run_id, str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._registry.clear_errors():
            self._client.set_terminated(self.run_id, "FINISHED" if kind is None else "FAILED")

    def _log_some(self, entries: list[Param | Metric | RunTag]) -> None:
        self._client.log_batch(
            self.run_id,
            metrics=[one for one in entries if isinstance(one, Metric)],
            params=[one for one in entries if isinstance(one, Param)],
            tags=[one for one in entries if isinstance(one, RunTag)],
            synchronous=True,
        )


def finished_run(registry: Registry, config: SweepConfig, mark: Mapping[str, str]) -> str | None:
    """Return the finished run with these tags, and end those that a killed command left open."""
    with registry.clear_errors():
        number = experiment_id(registry.client, config.mlflow)
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in mark.items())
        found = None
        for run in registry.client.search_runs([number], wanted):
            if run.info.status == "FINISHED":
                found = str(run.info.run_id)
            elif run.info.status == "RUNNING":
                registry.client.set_terminated(run.info.run_id, "KILLED")
    return found


def log_verdict(registry: Registry, run_id: str, decision: Decision) -> None:
    """Log whether a model may be registered; what was logged of that before is replaced."""
    with registry.clear_errors():
        registry.client.log_dict(run_id, decision.as_dict(), "decision.json")
        allowed = str(decision.allowed).lower()
        registry.client.set_tag(run_id, "chemprop_hpo.eligible", allowed)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:_LONGEST_PARAM]
