"""ASHA over kills and drivers: the decisions of a sweep that was never interrupted."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import optuna
import pytest
from optuna import Study

from chemprop_hpo.hpo.search.past import PastTrials
from chemprop_hpo.storage.database import open_database
from tests.hpo.racing import CHAINS, MAX_EPOCHS, Driver, Event, Race

CUTS = 4
LONGEST_LOSS = 8

Opener = Callable[[], AbstractContextManager[Study]]
Decisions = dict[Event, set[str]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('rungs')}/studies.db"


@pytest.fixture
def opener(url: str, request: pytest.FixtureRequest) -> Opener:
    """Opens the test's study anew, as a process of its own would."""

    @contextmanager
    def opened() -> Iterator[Study]:
        sampler = optuna.samplers.RandomSampler(seed=0)
        with open_database(url) as db:
            yield optuna.create_study(
                study_name=request.node.name,
                storage=db.storage,
                sampler=sampler,
                direction="minimize",
                load_if_exists=True,
            )

    return opened


# --------------------------------------------------------------------------- cut off and resumed


class Cut(NamedTuple):
    """Where a driver is cut off."""

    told: int
    """How many reports it has heard."""
    stored: int
    """How many of them have reached the study; while its database is away, they wait."""
    checkpoints: Mapping[int, int]
    """The epoch of the newest checkpoint of each trial that has begun."""


def cuts_of(race: Race) -> list[Cut]:
    """Return random moments, from each of which the sweep can only be resumed in one order."""
    rng = np.random.default_rng([race.seed, 2])
    events = list(race.straight)
    places = [told for told in range(40, len(events)) if lost_before(race, events, told) > 2]
    cuts: list[Cut] = []
    for told in sorted(int(place) for place in rng.choice(places, CUTS, replace=False)):
        reached = {event.chain: event.epoch for event in events[:told]}
        checkpoints = {c: max(0, epoch - int(rng.integers(0, 4))) for c, epoch in reached.items()}
        cuts.append(Cut(told, told - lost_before(race, events, told), checkpoints))
    return cuts


def lost_before(race: Race, events: list[Event], end: int) -> int:
    """Return how many of the last reports may be lost without changing the rungs' order.

    Their trials report them again when they are continued, the one sooner and the other later.
    A trial does not begin while the database is away.
    """
    rungs = 0
    for lost, event in enumerate(reversed(events[:end])):
        rungs += race.is_on_a_rung(event)
        if rungs > 1 or event.epoch == 1 or lost == LONGEST_LOSS:
            return lost
    return end


def interrupted(race: Race, opener: Opener, *, rebuilt: bool = True) -> Decisions:
    """Return the decisions of all drivers of a sweep that is cut off and resumed."""
    events = list(race.straight)
    decisions: Decisions = defaultdict(set)
    last = Cut(len(events), len(events), {})
    for before, cut in itertools.pairwise([Cut(0, 0, {}), *cuts_of(race), last]):
        with opener() as study:
            driver = Driver(race, study, rebuilt=rebuilt)
            driver.take_up(before.checkpoints)
            for number, event in enumerate(events[before.stored : cut.told], before.stored):
                driver.is_connected = number < cut.stored
                driver.hear(event)
        for event, made in driver.decisions.items():
            decisions[event] |= made
    return decisions


def positions(race: Race, cut: Cut) -> Counter[str]:
    """Count the checkpoints of trials in flight by where they are, seen from the study."""
    stored = {event.chain: event.epoch for event in list(race.straight)[: cut.stored]}
    seen: Counter[str] = Counter()
    for chain, epoch in stored.items():
        if race.straight[Event(chain, epoch)] != "STOP":
            checkpoint = cut.checkpoints[chain]
            seen["none"] += checkpoint == 0
            seen["behind"] += checkpoint < epoch
            seen["equal"] += checkpoint == epoch
            seen["ahead"] += checkpoint > epoch
            passed = (Event(chain, e) for e in range(epoch + 1, checkpoint))
            seen["beyond a rung"] += any(race.is_on_a_rung(event) for event in passed)
    return seen


def singly(race: Race) -> Decisions:
    return {event: {decision} for event, decision in race.straight.items()}


def races() -> list[Race]:
    kinds = itertools.product((1, 3), ("min", "max"))
    return [Race(brackets, mode, seed) for seed, (brackets, mode) in enumerate(kinds)]


RACES = [pytest.param(race, id=f"{race.brackets} brackets, {race.mode}") for race in races()]


@pytest.mark.parametrize("race", RACES)
def test_a_race_stops_trials_on_every_rung_below_the_last(race: Race) -> None:
    stopped = Counter(event.epoch for event, made in race.straight.items() if made == "STOP")
    assert set(stopped) == {3, 9, MAX_EPOCHS}
    assert sum(stopped.values()) == CHAINS


def test_there_is_a_checkpoint_at_every_place_to_continue_from() -> None:
    seen = sum((positions(r, cut) for r in races() for cut in cuts_of(r)), Counter())
    assert min(seen[p] for p in ("none", "behind", "equal", "ahead", "beyond a rung")) > 0


@pytest.mark.parametrize("race", RACES)
def test_a_sweep_cut_off_again_and_again_decides_as_one_that_was_not(
    race: Race, opener: Opener
) -> None:
    assert interrupted(race, opener) == singly(race)


def test_a_sweep_resumed_with_empty_rungs_would_decide_otherwise(opener: Opener) -> None:
    race = races()[0]
    assert interrupted(race, opener, rebuilt=False) != singly(race)


# --------------------------------------------------------------------------- two drivers


def together(race: Race, opener: Opener, *, listening: bool = True) -> Decisions:
    """Let two drivers share a race; one dies on the way and the other goes on with its trials."""
    events = list(race.straight)
    with ExitStack() as stack:
        studies = [stack.enter_context(opener()) for _ in range(2)]
        looks = [PastTrials(study).look if listening else None for study in studies]
        drivers = [Driver(race, s, look) for s, look in zip(studies, looks, strict=True)]
        half = len(events) * 2 // 3
        for event in events[:half]:
            drivers[event.chain % 2].hear(event)
        dead, alive = drivers
        alive.take_up({chain: max(0, epoch - 2) for chain, epoch in dead.reached.items()})
        for event in events[half:]:
            alive.hear(event)
    return {event: dead.decisions[event] | alive.decisions[event] for event in events}


@pytest.mark.parametrize("race", [RACES[0], RACES[-1]])
def test_two_drivers_decide_together_as_one_would(race: Race, opener: Opener) -> None:
    assert together(race, opener) == singly(race)


def test_two_drivers_that_do_not_listen_decide_otherwise(opener: Opener) -> None:
    race = races()[0]
    assert together(race, opener, listening=False) != singly(race)
