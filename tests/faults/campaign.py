"""Many small sweeps on one kind of database, killed until enough was killed, and the one line."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.databases import Database
from tests.faults.shell import Shell
from tests.faults.story import Outcome, Story
from tests.faults.victims import VICTIMS, Blow, Victim, draw_blow

__all__ = ["Tally", "blows_of", "run_campaign"]

WEIGHTS: dict[Victim, float] = {"driver": 9, "worker": 5, "raylet": 3, "database": 4}
MOST_BLOWS = 4


@dataclass
class Tally:
    """What a campaign came to."""

    database: str
    kills: Counter[Victim] = field(default_factory=Counter)
    sweeps: int = 0
    trials: int = 0
    violations: list[str] = field(default_factory=list)
    """Each with the seed that repeats it."""

    def add(self, outcome: Outcome) -> None:
        self.kills += outcome.kills
        self.sweeps += 1
        self.trials += outcome.trials
        self.violations += [f"seed {outcome.seed}: {line}" for line in outcome.violations]

    def __str__(self) -> str:
        each = ", ".join(f"{self.kills[victim]} {victim}" for victim in VICTIMS)
        return (
            f"{self.database}: {self.kills.total()} kills ({each}), {self.sweeps} sweeps, "
            f"{self.trials} trials, {len(self.violations)} violations"
        )


def blows_of(seed: int) -> list[Blow]:
    """Return the kills of the sweep with that seed, at least one."""
    draw = random.Random(f"blows {seed}")
    victims = draw.choices(list(WEIGHTS), list(WEIGHTS.values()), k=draw.randint(1, MOST_BLOWS))
    return [draw_blow(victim, draw) for victim in victims]


def run_campaign(
    shell: Shell,
    database: Database,
    *,
    kills: int,
    seed: int,
    budget_s: float,
    tell: Callable[[str], None],
) -> Tally:
    """Run sweeps with the seeds from ``seed`` on, until enough was killed or the time is up.

    Parameters
    ----------
    shell, database : Shell, Database
        Started.
    kills : int
        How many kills are enough.
    seed : int
        Of the first sweep.
    budget_s : float
        Seconds after which no other sweep begins.
    tell : callable
        Gets the lines of the progress.
    """
    tally, deadline = Tally(database.name), time.monotonic() + budget_s
    while tally.kills.total() < kills and time.monotonic() < deadline:
        blows = blows_of(seed)
        tell(f"{database.name}, seed {seed}: {', '.join(map(str, blows))}")
        story = Story(shell, database, seed, blows, tell)
        outcome = story.run()
        tally.add(outcome)
        if outcome.violations:
            tell(f"  kept for a look: {story.folder}")
        tell(str(tally))
        seed += 1
    return tally
