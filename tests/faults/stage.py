"""Where scripted sweeps without Ray are hurt, resumed and judged, many of them side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from chemprop_hpo.configs.load import LoadedSweep
from tests.faults.connection_loss import ConnectionLoss
from tests.faults.invariants import Witness, failures, violations_at_the_end
from tests.faults.kill_points import Steps
from tests.faults.remains import file_violations
from tests.faults.snapshots import read_snapshot
from tests.faults.without_ray import Ended, Fault, run_in_child
from tests.hpo import scripted

__all__ = ["Case", "Kills", "Loss", "Stage", "in_parallel"]

FORK = multiprocessing.get_context("fork")

SIGKILLED, SIGTERMED = -9, 128 + 15
TOP_K = 1
AT_ONCE = 4
HEADS = [scripted.GOOD, scripted.BAD, scripted.DIPS]


class Part(NamedTuple):
    """What one driver is to play."""

    make_fault: Callable[[], Fault]
    """What goes wrong."""
    interrupt_at: int | None = None
    """The report at which it gets a SIGTERM."""
    codes: tuple[int, ...] = (0,)
    """How it may end."""


@dataclass(frozen=True)
class Kills:
    """Drivers that work on one study one after another, each killed, and one that is not.

    Attributes
    ----------
    at : tuple of int
        The change of the database at which each driver is killed, counted from 1.
    interrupt_at : int or None
        The report at which the first driver gets a SIGTERM, whether it is killed after or not.
    checkpoint_every_s : float
        0 for checkpoints that are ahead of the database, much for none at all.
    """

    at: tuple[int, ...] = ()
    interrupt_at: int | None = None
    checkpoint_every_s: float = 0.0

    @property
    def parts(self) -> list[Part]:
        parts = [Part(self._dies_at(step), None, (SIGKILLED, 0)) for step in self.at]
        if self.interrupt_at is not None:
            first = self.at[0] if self.at else None
            codes = (SIGKILLED, SIGTERMED)
            parts[:1] = [Part(self._dies_at(first), self.interrupt_at, codes)]
        return [*parts, Part(self._dies_at(None))]

    def _dies_at(self, step: int | None) -> Callable[[], Fault]:
        return partial(Steps, step, writes_only=True)


@dataclass(frozen=True)
class Loss:
    """One driver that loses its database at a step, for a moment, and gets to its end.

    Attributes
    ----------
    step : int or None
        Counted from 1; None to only count.
    after_commit : bool
        Whether a commit succeeds and only the answer to it is lost.
    """

    step: int | None
    after_commit: bool = False
    checkpoint_every_s: float = 0.0

    @property
    def parts(self) -> list[Part]:
        return [Part(partial(ConnectionLoss, self.step, after_commit=self.after_commit))]


Case = Kills | Loss


@dataclass(frozen=True)
class Stage:
    """Where cases are played: a folder, and a database that they share."""

    folder: Path
    url: str

    def violations(self, case: Case) -> list[str]:
        """Play a case and return what is amiss, each with the case that shows it."""
        return [f"{case}: {line}" for line in self._play(case)]

    def steps(self, case: Case) -> Ended:
        """Return the steps of the first driver of a case, which ends by itself."""
        ended = self._run(case, case.parts[0])
        assert ended.steps, self._log(case).read_text()
        return ended

    def _play(self, case: Case) -> Iterator[str]:
        witness = Witness()
        for part in case.parts:
            ended = self._run(case, part)
            if ended.code not in part.codes:
                last = self._log(case).read_text().splitlines()[-1]
                yield f"a driver ended with {ended.code}: {last} ({self._log(case)})"
            if (now := read_snapshot(self.url, self._study(case))) is not None:
                yield from witness.see(now)
        yield from self._amiss_at_the_end(case)

    def _amiss_at_the_end(self, case: Case) -> Iterator[str]:
        now = read_snapshot(self.url, self._study(case))
        if now is None:
            yield "the study cannot be read"
            return
        yield from violations_at_the_end(now)
        yield from failures(now)
        yield from file_violations(self._folder(case) / "study", now, TOP_K)

    def _run(self, case: Case, part: Part) -> Ended:
        return run_in_child(self._sweep(case), self._log(case), part.make_fault, part.interrupt_at)

    def _sweep(self, case: Case) -> LoadedSweep:
        """Two trials that are given and one that is sampled; one in two goes on at a rung."""
        folder = self._folder(case)
        folder.mkdir(exist_ok=True)
        return scripted.sweep_of(
            folder,
            [scripted.DIPS, scripted.BAD],
            search_space={"depth": {"type": "choice", "choices": HEADS}},
            num_samples=3,
            scheduler={"max_t": 3, "grace_period": 1, "reduction_factor": 2},
            sampler={"type": "random"},
            resources={"max_concurrent_trials": 2},
            transfer_learning={"top_k": TOP_K},
            checkpoint_every_s=case.checkpoint_every_s,
            study={"name": self._study(case), "storage": self.url},
        )

    def _folder(self, case: Case) -> Path:
        return self.folder / self._study(case)

    def _log(self, case: Case) -> Path:
        return self._folder(case) / "drivers.log"

    def _study(self, case: Case) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in str(case))


def in_parallel(stage: Stage, cases: Sequence[Case]) -> list[str]:
    """Play the cases in a few processes, and return all that is amiss."""
    answers = FORK.SimpleQueue()
    players = [
        FORK.Process(target=_play_all, args=(stage, cases[i::AT_ONCE], answers.put), daemon=True)
        for i in range(AT_ONCE)
    ]
    for player in players:
        player.start()
    found = [line for _ in players for line in answers.get()]
    for player in players:
        player.join()
    return found


def _play_all(stage: Stage, cases: Sequence[Case], answer: Callable[[list[str]], Any]) -> None:
    try:
        answer([line for case in cases for line in stage.violations(case)])
    except BaseException as error:
        answer([f"the player failed: {error!r}"])
        raise
