"""A few kills through real Ray: driver, worker, raylet and database. `make faults` kills more."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.faults.campaign import Tally
from tests.faults.databases import Database, Postgres, Sqlite
from tests.faults.shell import Shell
from tests.faults.story import Story
from tests.faults.victims import Blow

pytestmark = pytest.mark.timeout(1800)  # four minutes in all, where nothing else runs

ON_SQLITE = [
    Blow("worker", "epoch", part=0.1, delay_s=0.1),
    Blow("driver", "epoch", part=0.1, delay_s=0.2),
    Blow("raylet", "epoch", delay_s=0.1),
]
# The database last: training goes on without it, to the end of so small a sweep if need be.
ON_POSTGRES = [
    Blow("driver", "epoch", part=0.1),
    Blow("database", "epoch", delay_s=0.1, lasts_s=4),
]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with Shell() as shell:
        yield shell


@pytest.mark.parametrize(
    ("database", "seed", "blows"),
    [(Sqlite(), 1, ON_SQLITE), (Postgres(), 2, ON_POSTGRES)],
    ids=["sqlite", "postgres"],
)
def test_nothing_is_lost_whatever_is_killed(
    shell: Shell,
    database: Database,
    seed: int,
    blows: list[Blow],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with database:
        outcome = Story(shell, database, seed, blows).run()
    tally = Tally(database.name)
    tally.add(outcome)
    with capsys.disabled():
        sys.stdout.write(f"\n{tally}\n")
    assert outcome.violations == [], "\n".join(outcome.events)
    assert outcome.kills.total() == len(blows), "\n".join(outcome.events)
