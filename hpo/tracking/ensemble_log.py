"""One call of ``ensembles`` as MLflow runs: its own, and a nested run for each member."""

from __future__ import annotations

from collections.abc import Mapping

from chemprop_hpo.hpo.tracking.account import Account
from chemprop_hpo.hpo.tracking.filling import Filling, now
from chemprop_hpo.hpo.tracking.run_log import RunLog
from chemprop_hpo.hpo.tracking.runs import TAG
from chemprop_hpo.hpo.tracking.wanted import BEST_SO_FAR, WantedRun

__all__ = ["EnsembleLog"]


class EnsembleLog:
    """Writes these runs. Every method may be repeated after it failed half-way.

    Parameters
    ----------
    log : RunLog
        Of the sweep below whose run they stand.
    """

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._ensemble: str | None = None
        self._members: dict[str, str] = {}
        self._steps: dict[str, set[int]] = {}
        self._open: set[str] = set()

    def begin(self, account: Account) -> None:
        """Find or create the sweep's run, and add what is missing below it."""
        self._log.catch_up(account, now())

    def open_ensemble(self, ensemble: WantedRun) -> None:
        """Create the ensemble's run, or go on with it."""
        filling = self._filling()
        found = filling.find("ensemble", ensemble.mark)
        self._ensemble, _ = filling.fill(ensemble, found)
        self._open.add(self._ensemble)

    def open_member(self, member: WantedRun) -> None:
        """Create the run of a member, or go on with it."""
        filling = self._filling()
        found = filling.find("member", member.mark)
        run_id, _ = filling.fill(member, found, self._ensemble)
        self._members[member.mark] = run_id
        self._steps[run_id] = set(self._log.runs.steps_of(run_id, BEST_SO_FAR)) if found else set()
        self._open.add(run_id)

    def log_epoch(self, mark: str, epoch: int, metrics: Mapping[str, float], at: int) -> None:
        """Log an epoch of a member, unless it was logged before."""
        run_id = self._members[mark]
        if epoch not in self._steps[run_id]:
            self._log.runs.log_metrics(run_id, str(self._log.parent), metrics, epoch, at)
            self._steps[run_id].add(epoch)

    def end_member(self, member: WantedRun) -> None:
        """Add to a member's run what is missing, and end it as the database says."""
        filling = self._filling()
        run_id, _ = filling.fill(member, filling.find("member", member.mark), self._ensemble)
        self._open.discard(run_id)

    def leave_member(self, mark: str) -> None:
        """Leave a member's run to the driver that has taken the member."""
        self._open.discard(self._members.get(mark, ""))

    def made(self, account: Account) -> None:
        """Add what came of it: figures and artifacts, and what members still lack."""
        self._log.catch_up(account, now())
        self._log.shelf.again()
        ended = {run_id for run_id in self._open if self._status(run_id) != "RUNNING"}
        self._open -= ended

    def end_open(self, reason: str, status: str, at: int) -> None:
        """End the runs that nobody ended."""
        for run_id in sorted(self._open):
            self._log.runs.set_tags(run_id, {f"{TAG}.stop_reason": reason})
            self._log.runs.end(run_id, status, at)
            self._open.discard(run_id)

    def _status(self, run_id: str) -> str:
        return str(self._log.runs.get(run_id).info.status)

    def _filling(self) -> Filling:
        return Filling(self._log.runs, self._log.shelf, str(self._log.parent))
