"""Add to MLflow's runs what they lack of what the study says, and nothing twice."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from chemprop_hpo.hpo.tracking.account import Account, Best
from chemprop_hpo.hpo.tracking.artifacts import Shelf
from chemprop_hpo.hpo.tracking.metric_names import accepted_names
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.hpo.tracking.runs import TAG, Runs, Step, shown_tag
from chemprop_hpo.hpo.tracking.wanted import BEST_SO_FAR, WantedRun

__all__ = ["Added", "Filling", "now"]

SWEEP = f"{TAG}.sweep"
"""Tag of each run below a sweep's: the id of that run."""

BEST_FILE = "best_configs.yaml"


@dataclass(frozen=True)
class Added:
    """What was added, by kind.

    ``ended`` are runs that were there, and whose state was wrong; ``unkept`` are artifacts that
    could not be added.
    """

    runs: int = 0
    params: int = 0
    steps: int = 0
    figures: int = 0
    tags: int = 0
    ended: int = 0
    artifacts: int = 0
    unkept: int = 0

    def __add__(self, other: Added) -> Added:
        return Added(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))


class Filling:
    """Fills in the runs below one sweep's run.

    Parameters
    ----------
    runs : Runs
    shelf : Shelf
    sweep : str
        Id of the sweep's run.
    thorough : bool
        Look at each step of each run, and not only at runs that were not ended as the study
        says: a call for each.
    """

    def __init__(self, runs: Runs, shelf: Shelf, sweep: str, *, thorough: bool = False) -> None:
        self._runs, self._shelf, self._sweep = runs, shelf, sweep
        self._thorough = thorough

    def add(self, account: Account) -> Added:
        """Fill in trials, ensembles and members, and end what nobody works on."""
        found = {kind: self._all_of(kind) for kind in ("trial", "ensemble", "rank", "member")}
        trials, ensembles, ranks, members = map(_by_mark, found, found.values())
        added = Added()
        for wanted in account.trials:
            added += self.fill(wanted, trials.get(wanted.mark))[1]
        above: dict[str, str] = {}
        for wanted in account.ensembles:
            run_id, new = self.fill(wanted, ensembles.get(wanted.mark))
            added += new
            for part in wanted.parts:
                added += self.fill(part, ranks.get(part.mark), run_id)[1]
            above = {**dict.fromkeys(wanted.members, run_id), **above}
        for wanted in account.members:
            parent = above.get(wanted.mark)
            added += self.fill(wanted, members.get(wanted.mark), parent)[1]
        if not account.at_work:
            added += self._end_the_rest(chain(*found.values()))
        return added + self.add_best(account.best)

    def fill(
        self, wanted: WantedRun, run: Run | None = None, parent: str | None = None
    ) -> tuple[str, Added]:
        """Make one run what it ought to be; return its id and what was added.

        Parameters
        ----------
        wanted : WantedRun
        run : Run, optional
            As it was just read; None creates it.
        parent : str, optional
            Id of the run below which it is created; the sweep's if not given.
        """
        is_new = run is None
        if run is None:
            run = self.create(wanted, parent)
        run_id = str(run.info.run_id)
        added = Added(
            runs=int(is_new),
            params=self._runs.set_params(run_id, wanted.params, run.data.params),
            steps=self._add_steps(run, wanted, is_new=is_new),
            figures=self._add_figures(run, wanted),
            # After the steps: the number of epochs among them says that these are there.
            tags=self._add_tags(run, wanted.tags),
        )
        ended = self._put_right(run, wanted)
        # Last: a bucket may be away.
        kept = self._shelf.keep(run, "files", wanted.files) if wanted.files else 0
        return run_id, added + Added(artifacts=kept, ended=0 if is_new else ended)

    def create(self, wanted: WantedRun, parent: str | None = None) -> Run:
        """Begin a run below the sweep's, or below one that is itself below it."""
        tags = {
            MLFLOW_PARENT_RUN_ID: parent or self._sweep,
            SWEEP: self._sweep,
            f"{TAG}.kind": wanted.kind,
            f"{TAG}.{wanted.kind}": wanted.mark,
        }
        return self._runs.create(wanted.name, tags, wanted.started or now())

    def find(self, kind: str, mark: str) -> Run | None:
        """Return the run of that kind and mark."""
        below = f"tags.`{SWEEP}` = '{self._sweep}'"
        return self._runs.find(f"{below} and tags.`{TAG}.{kind}` = '{mark}'")

    def add_best(self, best: Best) -> Added:
        """Log the best configurations with the sweep's own run."""
        if best.file is None:
            return Added()
        run = self._runs.get(self._sweep)
        new = _differing(run, best.metrics)
        self._runs.log_metrics(self._sweep, self._sweep, new, best.step, now())
        kept = self._shelf.keep(run, "best", {BEST_FILE: best.file})
        return Added(figures=len(new), artifacts=kept)

    def add_observations(self, found: Observations) -> Added:
        """Log with the sweep's own run what its search found out."""
        if not found.files:
            return Added()
        run = self._runs.get(self._sweep)
        new = _differing(run, found.metrics)
        self._runs.log_metrics(self._sweep, self._sweep, new, found.step, now())
        return Added(figures=len(new), artifacts=self._shelf.keep(run, "search", found.files))

    # ------------------------------------------------------------------ steps

    def _all_of(self, kind: str) -> list[Run]:
        below = f"tags.`{SWEEP}` = '{self._sweep}'"
        return self._runs.find_all(f"{below} and tags.`{TAG}.kind` = '{kind}'")

    def _add_steps(self, run: Run, wanted: WantedRun, *, is_new: bool) -> int:
        if not wanted.curve:
            return 0
        says_all = run.data.tags.get(f"{TAG}.epochs") == shown_tag(wanted.tags.get("epochs"))
        if says_all and not self._thorough:
            return 0
        run_id = str(run.info.run_id)
        known = set() if is_new else self._runs.steps_of(run_id, BEST_SO_FAR)
        at = wanted.ended or now()
        curve = wanted.curve.items()
        new = [Step(step, metrics, at) for step, metrics in curve if step not in known]
        self._runs.log_steps(run_id, self._sweep, new)
        return len(new)

    def _add_figures(self, run: Run, wanted: WantedRun) -> int:
        shown = accepted_names(wanted.if_absent)
        there = run.data.metrics
        by_step = {name for metrics in wanted.curve.values() for name in metrics}
        curves = {
            name: value
            for name, value in wanted.if_absent.items()
            if shown[name] not in there and name not in by_step
        }
        new = curves | _differing(run, wanted.figures)
        at = wanted.ended or now()
        self._runs.log_metrics(str(run.info.run_id), self._sweep, new, wanted.step, at)
        return len(new)

    def _add_tags(self, run: Run, tags: Mapping[str, Any]) -> int:
        new = {f"{TAG}.{name}": value for name, value in tags.items() if value is not None}
        shown = accepted_names(new)
        there = run.data.tags
        new = {n: x for n, x in new.items() if there.get(shown[n]) != shown_tag(x)}
        self._runs.set_tags(str(run.info.run_id), new)
        return len(new)

    def _put_right(self, run: Run, wanted: WantedRun) -> int:
        if run.info.status == wanted.status:
            return 0
        if wanted.status == "RUNNING":
            self._runs.set_running(run)
            return 0
        self._runs.end(str(run.info.run_id), wanted.status, wanted.ended or now())
        return 1

    def _end_the_rest(self, found: Iterable[Run]) -> Added:
        """End runs that are neither finished nor worked on: what the study forgot, or lost."""
        ended = 0
        for run in found:
            if run.info.status == "RUNNING" and self._runs.get(run.info.run_id).info.status == (
                "RUNNING"
            ):
                self._runs.end(str(run.info.run_id), "KILLED", now())
                ended += 1
        return Added(ended=ended)


def _by_mark(kind: str, found: Iterable[Run]) -> dict[str, Run]:
    """Return the first run of each mark, as `Runs.find` does."""
    marks: dict[str, Run] = {}
    for run in found:
        marks.setdefault(run.data.tags.get(f"{TAG}.{kind}", ""), run)
    return marks


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _differing(run: Run, figures: Mapping[str, float]) -> dict[str, float]:
    shown, there = accepted_names(figures), run.data.metrics
    return {
        name: value
        for name, value in figures.items()
        if math.isfinite(value)
        and not math.isclose(there.get(shown[name], math.nan), value, rel_tol=1e-12)
    }
