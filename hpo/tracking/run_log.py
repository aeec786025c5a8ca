"""One sweep as MLflow runs: a parent, and a nested run for each trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from chemprop_hpo.hpo.tracking.account import Account, Best
from chemprop_hpo.hpo.tracking.artifacts import Shelf
from chemprop_hpo.hpo.tracking.filling import SWEEP, Added, Filling
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.hpo.tracking.runs import TAG, Runs, Step, shown_tag
from chemprop_hpo.hpo.tracking.server import is_away
from chemprop_hpo.hpo.tracking.sweep_run import SweepRun

__all__ = ["RunLog"]

STUDY_FILES = "study"


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
    sweep : SweepRun
        What the parent says.
    """

    def __init__(self, client: MlflowClient, experiment: str, sweep: SweepRun) -> None:
        self.runs = Runs(client, experiment)
        self.shelf = Shelf(self.runs)
        self._sweep = sweep
        self._open: set[int] = set()
        self._told: set[int] = set()
        self._params: dict[int, Mapping[str, Any]] = {}
        """Of trials whose run has not got them."""
        self.parent: str | None = None
        self.trials: dict[int, str] = {}

    def open_parent(self, tags: Mapping[str, Any], at: int) -> None:
        """Create the parent run, or set the one of an earlier driver back to running.

        What the first driver said of itself, such as its commit, stays.
        """
        found = self.find_parent() or self._create(at)
        self.parent = self.runs.set_running(found)
        known = found.data.tags
        own = {name: value for name, value in self._sweep.tags.items() if name not in known}
        self.runs.set_tags(self.parent, {**own, **tags})
        self.runs.set_params(self.parent, self._sweep.params, found.data.params)

    def catch_up(self, account: Account, at: int, *, thorough: bool = False) -> Added:
        """Find the parent run, or create it, and add whatever is missing of what the study says.

        It is ended if nobody works on the study. What it says already stays as it is.
        """
        own = self._fill_parent(at)
        added = own + self.fill(account, thorough=thorough)
        return added if account.at_work else added + self._end_idle(account, at, is_new=own.runs)

    def find_parent(self) -> Run | None:
        """Return the run of this study, and of no deleted one of the same name."""
        return self.runs.find(f"tags.`{TAG}.key` = '{self._sweep.key}'")

    def log_files(self, resumed: bool, at: int) -> None:
        """Keep configuration, manifest and space as artifacts of the parent."""
        run = self.runs.get(self._parent())
        if not resumed or f"{TAG}.kept.{STUDY_FILES}" not in run.data.tags:
            self.shelf.keep(run, STUDY_FILES, self._sweep.files)
        if resumed:
            again = f"resumed_{at}"
            files = {f"{again}/{name}": text for name, text in self._sweep.files.items()}
            self.shelf.keep(run, again, files)

    def fill(self, account: Account, *, thorough: bool = False) -> Added:
        """Add what is missing below the parent of what the study says."""
        return self._filling(thorough=thorough).add(account)

    def log_best(self, best: Best) -> None:
        """Log the best configurations with the parent."""
        self._filling().add_best(best)

    def log_observations(self, found: Observations) -> Added:
        """Log with the parent what the search found out about its parameters."""
        return self._filling().add_observations(found)

    def keep_again(self) -> None:
        """Keep the artifacts that could not be kept before."""
        self.shelf.again()

    def open_trial(
        self, number: int, params: Mapping[str, Any], tags: Mapping[str, Any], at: int
    ) -> None:
        """Create the nested run of a trial, or go on with it; `log_steps` gives it its parameters.

        What is told for the first time was not there before: of a driver's own trials nobody
        else opens runs, and whoever fills runs in leaves out trials of drivers at work.
        """
        found = self._find_trial(number) if number in self._told else None
        self._told.add(number)
        if found is None:
            own = {MLFLOW_PARENT_RUN_ID: self._parent(), SWEEP: self._parent()}
            own |= {f"{TAG}.kind": "trial", f"{TAG}.trial": str(number)}
            found = self.runs.create(f"trial {number}", own | dict(tags), at)
        else:
            self.runs.set_tags(self.runs.set_running(found), tags)
        self.trials[number] = str(found.info.run_id)
        if not found.data.params:  # what a run has keeps its value
            self._params[number] = params
        self._open.add(number)

    def close_orphan(self, number: int, successor: int, params: Mapping[str, Any], at: int) -> None:
        """End the run that a driver which is gone left running, and name who goes on with it.

        The successor's parameters are the orphan's; what its run has of them keeps its value.
        """
        found = self._find_trial(number)
        if found is None:
            return
        run_id = found.info.run_id
        self.runs.set_tags(run_id, {f"{TAG}.continued_by": successor})
        self.runs.set_params(run_id, params, found.data.params)
        if found.info.status == "RUNNING":
            lost = {f"{TAG}.state": "FAIL", f"{TAG}.stop_reason": "orphaned"}
            self.runs.set_tags(run_id, lost)
            self.runs.end(run_id, "KILLED", at)

    def log_steps(
        self, number: int, steps: Iterable[Step], tags: Mapping[str, Any] | None = None
    ) -> None:
        """Log metrics of a trial at several steps, and tags; repeated, they count once.

        Its parameters go with the first that are logged. Where MLflow refuses them, since somebody
        has given the run others meanwhile, all else is logged before that is raised.
        """
        run_id, params = self.trials[number], self._params.get(number)
        steps = list(steps)
        try:
            self.runs.log_steps(run_id, self._parent(), steps, tags, params)
        except MlflowException as error:
            if params is None or is_away(error):
                raise
            self.runs.log_steps(run_id, self._parent(), steps, tags)
            del self._params[number]
            raise
        self._params.pop(number, None)

    def end_trial(self, number: int, status: str, at: int) -> None:
        """End a trial's run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self.runs.end(self.trials[number], status, at)
        self._open.discard(number)

    def end_open_trials(self, tags: Mapping[str, Any], status: str, at: int) -> None:
        """End the runs of all trials that nobody ended."""
        for number in sorted(self._open):
            self.runs.set_tags(self.trials[number], tags)
            self.end_trial(number, status, at)

    def tag_parent(self, tags: Mapping[str, Any]) -> None:
        """Give the parent tags."""
        self.runs.set_tags(self._parent(), tags)

    def end_parent(self, tags: Mapping[str, Any], status: str, at: int) -> None:
        """End the parent run."""
        self.tag_parent(tags)
        self.runs.end(self._parent(), status, at)

    def _fill_parent(self, at: int) -> Added:
        found = self.find_parent()
        is_new = found is None
        if found is None:
            found = self._create(at)
        self.parent = str(found.info.run_id)
        known = found.data.tags
        tags = {n: x for n, x in self._sweep.tags.items() if n not in known and x is not None}
        self.runs.set_tags(self.parent, tags)
        kept = 0
        if f"{TAG}.kept.{STUDY_FILES}" not in known:
            kept = self.shelf.keep(found, STUDY_FILES, self._sweep.files)
        params = self.runs.set_params(self.parent, self._sweep.params, found.data.params)
        return Added(runs=int(is_new), tags=len(tags), params=params, artifacts=kept)

    def _end_idle(self, account: Account, at: int, *, is_new: int) -> Added:
        run = self.runs.get(self._parent())
        there = run.data.tags
        tags = {f"{TAG}.{name}": x for name, x in account.tags.items() if x is not None}
        new = {name: x for name, x in tags.items() if there.get(name) != shown_tag(x)}
        self.runs.set_tags(self._parent(), new)
        is_running = run.info.status == "RUNNING"
        if is_running:
            self.runs.end(self._parent(), account.status, at)
        return Added(tags=len(new), ended=int(is_running and not is_new))

    def _create(self, at: int) -> Run:
        own = {f"{TAG}.key": self._sweep.key, f"{TAG}.kind": "sweep"}
        created = self.runs.create(self._sweep.name, own, at)
        # Where another driver was at it in the same moment, the first run is the one.
        first = self.find_parent() or created
        if first.info.run_id != created.info.run_id:
            self.runs.delete(created)
        return first

    def _filling(self, *, thorough: bool = False) -> Filling:
        return Filling(self.runs, self.shelf, self._parent(), thorough=thorough)

    def _parent(self) -> str:
        if self.parent is None:
            raise LookupError("the sweep has no parent run")
        return self.parent

    def _find_trial(self, number: int) -> Run | None:
        return self._filling().find("trial", str(number))
