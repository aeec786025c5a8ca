"""Workers that train one member after another, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.molecule_set import MoleculeSet
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.failures import is_host_memory_kill
from chemprop_hpo.hpo.trial.memory import spare_from_collection
from chemprop_hpo.hpo.trial.training_thread import Train, TrainingThread

__all__ = ["Death", "MemberWorker", "Pool"]

LET_GO_WITHIN_S = 30.0
LONGEST_ERROR = 500


@dataclass(frozen=True)
class Death:
    """The end of a worker in the midst of a member."""

    why: str
    out_of_memory: bool
    """Whether Ray killed it since the machine was running out of memory."""


class MemberWorker:
    """Trains members in a process of its own, an epoch at a time.

    Parameters
    ----------
    molecules : MoleculeSet
        Of all folds; out of Ray's object store, once.
    folder : Path
        The study's, absolute.
    checkpoint_every_s : float
        Least seconds between two checkpoints.
    train : callable
        Trains one model.
    """

    def __init__(
        self, molecules: MoleculeSet, folder: Path, checkpoint_every_s: float, train: Train
    ) -> None:
        spare_from_collection()
        self._molecules = molecules
        self._folder = folder
        self._checkpoint_every_s = checkpoint_every_s
        self._train = train
        self._training: TrainingThread | None = None

    def begin(self, job: MemberJob, reached: int) -> TrialReport:
        """Take the next member, train its first epoch or read its checkpoint, and report that."""
        self._let_go()
        model = job.spec.model
        place = job.key.split, job.key.fold
        self._training = TrainingThread(
            self._train,
            job.spec,
            self._molecules.fold(*place, [model.atom_features], model.molecule_feature_names),
            TrialFolder(self._folder / job.folder),
            self._checkpoint_every_s,
            reached,
        )
        return self._training.next_report()

    def go_on(self) -> TrialReport:
        """Train one epoch more."""
        if self._training is None:
            raise RuntimeError("this worker has no member")
        return self._training.next_report()

    def stop(self) -> None:
        """Write a checkpoint, and train no more."""
        if self._training is not None:
            self._training.stop(LET_GO_WITHIN_S, keep=True)

    def _let_go(self) -> None:
        before, self._training = self._training, None
        if before is not None and not before.stop(LET_GO_WITHIN_S, keep=False):
            os._exit(1)  # a training that goes on would share the threads of the next


class Pool:
    """At most so many workers; a member is known by its id in the database.

    Parameters
    ----------
    config : SweepConfig
        Says what a worker takes.
    folder : Path
        The study's, absolute.
    molecules : MoleculeSet
        Put into Ray's object store once.
    train : callable
        Trains one model.
    size : int
        How many workers there may be at once.
    """

    def __init__(
        self, config: SweepConfig, folder: Path, molecules: MoleculeSet, train: Train, size: int
    ) -> None:
        resources = config.resources
        self._kind: Any = ray.remote(MemberWorker).options(
            num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial
        )
        self._arguments = (ray.put(molecules), folder, config.checkpoint_every_s, train)
        self.size = size
        self._idle: list[Any] = []
        self._busy: dict[int, Any] = {}
        self._awaited: dict[Any, int] = {}

    def has_room(self) -> bool:
        """Whether another member can be taken."""
        return len(self._busy) < self.size

    def begin(self, member_id: int, job: MemberJob, reached: int) -> None:
        """Give a member to a worker that has none, or to a new one."""
        worker = self._idle.pop() if self._idle else self._kind.remote(*self._arguments)
        self._busy[member_id] = worker
        self._awaited[worker.begin.remote(job, reached)] = member_id

    def go_on(self, member_id: int) -> None:
        """Let a member that has reported train one epoch more."""
        self._awaited[self._busy[member_id].go_on.remote()] = member_id

    def end(self, member_id: int) -> None:
        """Take a member that has ended from its worker, which is used again."""
        self._idle.append(self._busy.pop(member_id))

    def rest(self) -> None:
        """End the workers that have no member, so that others on the cluster get their place."""
        while self._idle:
            _kill(self._idle.pop())

    def drop(self, member_id: int) -> None:
        """Kill the worker of a member that is not to be trained here any more, if it has one."""
        self._awaited = {ref: id for ref, id in self._awaited.items() if id != member_id}
        if (worker := self._busy.pop(member_id, None)) is not None:
            _kill(worker)

    def arrived(self, timeout_s: float) -> list[tuple[int, TrialReport | Death]]:
        """Return what members' workers have to say, as soon as any has."""
        if not self._awaited:
            time.sleep(timeout_s)
            return []
        first, others = ray.wait(list(self._awaited), timeout=timeout_s)
        more = ray.wait(others, num_returns=len(others), timeout=0)[0] if first and others else []
        return [self._said(ref) for ref in (*first, *more)]

    def stopped(self, within_s: float) -> Iterator[tuple[int, TrialReport | Death]]:
        """Stop all trainings, each with a checkpoint, and yield what is still reported."""
        stops = [worker.stop.remote() for worker in self._busy.values()]
        deadline = time.monotonic() + within_s
        while stops and time.monotonic() < deadline:
            yield from self.arrived(0.0) if self._awaited else ()
            _, stops = ray.wait(stops, num_returns=len(stops), timeout=0.1)
        yield from self.arrived(0.0) if self._awaited else ()

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._idle, *self._busy.values()):
            _kill(worker)
        self._idle, self._busy, self._awaited = [], {}, {}

    def _said(self, ref: Any) -> tuple[int, TrialReport | Death]:
        member_id = self._awaited.pop(ref)
        try:
            report: TrialReport = ray.get(ref)
        except RayError as error:
            _kill(self._busy.pop(member_id))
            return member_id, _death(error)
        return member_id, report


def _death(error: RayError) -> Death:
    text = str(error).strip() or type(error).__name__
    lines = text.splitlines()
    why = lines[-1] if isinstance(error, RayTaskError) else lines[0]
    by_memory = isinstance(error, OutOfMemoryError) or is_host_memory_kill(text)
    return Death(why.strip()[:LONGEST_ERROR], by_memory)


def _kill(worker: Any) -> None:
    with contextlib.suppress(RayError, ValueError):
        ray.kill(worker)
