"""A driver is killed at every change that it makes to the database, and the next one goes on.

Between two commits the database stays as it is, so these are all the states that a kill can leave
in it. Ray is not needed for that; what it adds is killed in `test_quick`. Then the database goes
away for a moment, at one step after another, and the same driver goes on.

Of the slower kinds some are drawn, always the same; `FAULTS_ALL=1 make test ARGS=tests/faults` plays
all, which takes half an hour.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chemprop_hpo.storage.database import open_database
from tests.faults.integrity import integrity_violations
from tests.faults.stage import Case, Kills, Loss, Stage, in_parallel

pytestmark = pytest.mark.timeout(3600)  # a minute and a half, where nothing else runs

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


def drawn(cases: Sequence[Case], number: int) -> list[Case]:
    """Return so many of the cases, always the same."""
    if os.environ.get("FAULTS_ALL") or number > len(cases):
        return list(cases)
    return random.Random(0).sample(cases, number)


def assert_nothing_is_amiss(stage: Stage, cases: Sequence[Case]) -> None:
    found = [*in_parallel(stage, cases), *integrity_violations(stage.url)]
    assert not found, "\n".join(found)


def test_no_kill_at_any_change_loses_or_doubles_a_trial(stage: Stage) -> None:
    steps = stage.steps(Kills()).steps
    draw = random.Random(1)
    cases = [
        # Every third time, the driver that takes up what is left is killed as well.
        Kills(
            (step, draw.randint(1, steps)) if step % 3 == 0 else (step,),
            checkpoint_every_s=0 if step % 4 else NEVER_S,
        )
        for step in range(1, steps + 1)
    ]
    number = steps if stage.url.startswith("sqlite") else 16
    assert_nothing_is_amiss(stage, drawn(cases, number))


def test_no_kill_while_an_interrupted_sweep_is_settled_loses_or_doubles_a_trial(
    stage: Stage,
) -> None:
    steps = stage.steps(Kills(interrupt_at=3)).steps
    settling = [Kills((step,), interrupt_at=3) for step in range(steps - 16, steps + 1)]
    resuming = [Kills((steps + 1, step), interrupt_at=3) for step in range(1, 31)]
    number = 8 if stage.url.startswith("sqlite") else 3
    assert_nothing_is_amiss(stage, drawn(settling, number) + drawn(resuming, number))


def test_a_database_that_goes_away_at_any_step_loses_and_doubles_nothing(stage: Stage) -> None:
    whole = stage.steps(Loss(None))
    cases = [Loss(step) for step in range(whole.first, whole.last + 1)]
    assert_nothing_is_amiss(stage, drawn(cases, 12))


def test_a_commit_whose_answer_is_lost_is_not_made_twice(postgres_stage: Stage) -> None:
    whole = postgres_stage.steps(Loss(None, after_commit=True))
    cases = [Loss(step, after_commit=True) for step in range(whole.first, whole.last + 1)]
    assert_nothing_is_amiss(postgres_stage, drawn(cases, 12))
