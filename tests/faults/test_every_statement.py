"""A driver is killed at every change that it makes to the database, and the next one goes on.

Between two commits the database stays as it is, so these are all the states that a kill can leave
in it. Ray is not needed for that; what it adds is killed in `test_quick`.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.storage.database import open_database
from tests.faults.integrity import integrity_violations
from tests.faults.invariants import Witness, failures, violations_at_the_end
from tests.faults.remains import file_violations
from tests.faults.snapshots import read_snapshot
from tests.faults.without_ray import Ended, run_in_child
from tests.hpo import scripted

pytestmark = pytest.mark.timeout(900)  # a minute, where nothing else runs

FORK = multiprocessing.get_context("fork")

SIGKILLED, SIGTERMED = -9, 128 + 15
TOP_K = 1
AT_ONCE = 2
NEVER_S, ALWAYS_S = 1000.0, 0.0


@dataclass(frozen=True)
class Case:
    """Drivers that work on one study one after another, all but the last of them killed.

    Attributes
    ----------
    kills : tuple of int
        The change of the database at which each driver is killed, counted from 1.
    interrupt_at : int or None
        The report at which the first driver gets a SIGTERM, whether it is killed after or not.
    checkpoint_every_s : float
        0 for checkpoints that are ahead of the database, much for none at all.
    """

    kills: tuple[int, ...] = ()
    interrupt_at: int | None = None
    checkpoint_every_s: float = ALWAYS_S

    @property
    def name(self) -> str:
        return f"killed at {self.kills}, interrupted at {self.interrupt_at}"


@dataclass(frozen=True)
class Stage:
    """Where cases are played: a folder, and a database that they share."""

    folder: Path
    url: str

    def violations(self, case: Case) -> list[str]:
        """Play a case and return what is amiss, each with the case that shows it."""
        return [f"{case.name}: {line}" for line in self._play(case)]

    def steps(self, case: Case) -> int:
        """Return how many changes the driver makes that is not killed."""
        ended = self._run(case, None)
        assert ended.steps is not None, self._log(case).read_text()
        return ended.steps

    def _play(self, case: Case) -> Iterator[str]:
        witness = Witness()
        for number, step in enumerate(case.kills):
            ended = self._run(case, step, first=number == 0)
            if ended.code not in (SIGKILLED, SIGTERMED, 0):
                yield f"a driver ended with {ended.code}: {self._log(case).read_text()}"
            if (now := read_snapshot(self.url, self._study(case))) is not None:
                yield from witness.see(now)
        ended = self._run(case, None, first=not case.kills)
        if ended.code == SIGTERMED:
            ended = self._run(case, None, first=False)
        if ended.code != 0:
            yield f"the last driver ended with {ended.code}: {self._log(case).read_text()}"
        yield from self._amiss_at_the_end(case, witness)

    def _amiss_at_the_end(self, case: Case, witness: Witness) -> Iterator[str]:
        now = read_snapshot(self.url, self._study(case))
        if now is None:
            yield "the study cannot be read"
            return
        yield from witness.see(now)
        yield from violations_at_the_end(now)
        yield from failures(now)
        yield from file_violations(self._folder(case) / "study", now, TOP_K)

    def _run(self, case: Case, die_at: int | None, *, first: bool = True) -> Ended:
        loaded = self._sweep(case)
        interrupt_at = case.interrupt_at if first else None
        return run_in_child(loaded, self._log(case), die_at=die_at, interrupt_at=interrupt_at)

    def _sweep(self, case: Case) -> LoadedSweep:
        """Two trials that are given and one that is sampled; one in two goes on at a rung."""
        folder = self._folder(case)
        folder.mkdir(exist_ok=True)
        return scripted.sweep_of(
            folder,
            [scripted.DIPS, scripted.BAD],
            search_space={
                "depth": {"type": "choice", "choices": [scripted.GOOD, scripted.BAD, scripted.DIPS]}
            },
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
        kills = "-".join(map(str, case.kills))
        return f"k{kills}i{case.interrupt_at}c{case.checkpoint_every_s:g}"


@pytest.fixture(scope="module", autouse=True)
def _forks_are_quick() -> Iterator[None]:
    # Else each child would look at, and so copy, all that was imported.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def stage(tmp_path: Path, ready_url: str) -> Stage:
    open_database(ready_url).close()  # what this imports, the children need not
    return Stage(tmp_path, ready_url)


def in_parallel(stage: Stage, cases: list[Case]) -> list[str]:
    """Play the cases in a few processes, and return all that is amiss."""
    answers = FORK.SimpleQueue()
    shares = [cases[start::AT_ONCE] for start in range(AT_ONCE)]
    players = [
        FORK.Process(target=_play_all, args=(stage, share, answers.put), daemon=True)
        for share in shares
    ]
    for player in players:
        player.start()
    found = [line for _ in players for line in answers.get()]
    for player in players:
        player.join()
    return found


def _play_all(stage: Stage, cases: list[Case], answer: Callable[[list[str]], Any]) -> None:
    try:
        answer([line for case in cases for line in stage.violations(case)])
    except BaseException as error:
        answer([f"the player failed: {error!r}"])
        raise


def thinned(cases: list[Case], url: str) -> list[Case]:
    """Return all cases for SQLite, and some for PostgreSQL, which takes longer."""
    if url.startswith("sqlite"):
        return cases
    return random.Random(0).sample(cases, len(cases) // 3)


def test_no_kill_at_any_change_loses_or_doubles_a_trial(stage: Stage) -> None:
    steps = stage.steps(Case())
    draw = random.Random(1)
    cases = [
        # Every second time, the driver that takes up what is left is killed as well.
        Case(
            (step, draw.randint(1, steps)) if step % 2 else (step,),
            checkpoint_every_s=ALWAYS_S if step % 3 else NEVER_S,
        )
        for step in range(1, steps + 1)
    ]
    assert in_parallel(stage, thinned(cases, stage.url)) == []
    assert integrity_violations(stage.url) == []


def test_no_kill_while_an_interrupted_sweep_is_settled_loses_or_doubles_a_trial(
    stage: Stage,
) -> None:
    before = stage.steps(Case(interrupt_at=3))
    cases = [Case((step,), interrupt_at=3) for step in range(before - 24, before + 1)]
    cases += [Case((before + 1, step), interrupt_at=3) for step in range(1, 25, 2)]
    assert in_parallel(stage, thinned(cases, stage.url)) == []
    assert integrity_violations(stage.url) == []
