"""A driver is killed at every change that it makes to the database, and the next one goes on.

Between two commits the database stays as it is, so these are all the states that a kill can leave
in it. Ray is not needed for that; what it adds is killed in `test_quick`. Then the database goes
away for a moment, at one step after another, and the same driver goes on.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chemprop_hpo.storage.database import open_database
from tests.faults.integrity import integrity_violations
from tests.faults.stage import Case, Kills, Loss, Stage, in_parallel

pytestmark = pytest.mark.timeout(900)  # a minute, where nothing else runs

NEVER_S = 1000.0


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


@pytest.fixture
def postgres_stage(tmp_path: Path, ready_postgres_url: str) -> Stage:
    open_database(ready_postgres_url).close()
    return Stage(tmp_path, ready_postgres_url)


def thinned(cases: Sequence[Case], url: str) -> list[Case]:
    """Return all cases for SQLite, and some for PostgreSQL, which takes longer."""
    if url.startswith("sqlite"):
        return list(cases)
    return random.Random(0).sample(cases, len(cases) // 3)


def assert_nothing_is_amiss(stage: Stage, cases: Sequence[Case]) -> None:
    found = [*in_parallel(stage, cases), *integrity_violations(stage.url)]
    assert not found, "\n".join(found)


def test_no_kill_at_any_change_loses_or_doubles_a_trial(stage: Stage) -> None:
    steps = stage.steps(Kills()).steps
    draw = random.Random(1)
    cases = [
        # Every second time, the driver that takes up what is left is killed as well.
        Kills(
            (step, draw.randint(1, steps)) if step % 2 else (step,),
            checkpoint_every_s=0 if step % 3 else NEVER_S,
        )
        for step in range(1, steps + 1)
    ]
    assert_nothing_is_amiss(stage, thinned(cases, stage.url))


def test_no_kill_while_an_interrupted_sweep_is_settled_loses_or_doubles_a_trial(
    stage: Stage,
) -> None:
    steps = stage.steps(Kills(interrupt_at=3)).steps
    cases = [Kills((step,), interrupt_at=3) for step in range(steps - 16, steps + 1)]
    cases += [Kills((steps + 1, step), interrupt_at=3) for step in range(1, 25, 2)]
    assert_nothing_is_amiss(stage, thinned(cases, stage.url))


def test_a_database_that_goes_away_at_any_step_loses_and_doubles_nothing(stage: Stage) -> None:
    whole = stage.steps(Loss(None))
    steps = range(whole.first, whole.last + 1)
    cases = [Loss(step) for step in random.Random(2).sample(steps, 24)]
    assert_nothing_is_amiss(stage, cases)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(postgres_stage: Stage) -> None:
    whole = postgres_stage.steps(Loss(None, after_commit=True))
    steps = range(whole.first, whole.last + 1)
    cases = [Loss(step, after_commit=True) for step in random.Random(3).sample(steps, 24)]
    assert_nothing_is_amiss(postgres_stage, cases)
