"""A race of trials with drawn curves, for tests of which of them ASHA stops, and when.

A race that is run straight through says in which order its trials report. Drivers that are cut
off, or share the study with others, are then told the same reports in the same order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from optuna import Study
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import SchedulerConfig
from chemprop_hpo.hpo.search.asha import Asha, PastTrial, bracket_of, rung_counts
from chemprop_hpo.hpo.search.past import PastTrials
from chemprop_hpo.hpo.search.reports import TrialReport

MAX_EPOCHS = 27
CHAINS = 42
AT_ONCE = 5


class Event(NamedTuple):
    """A trial, or one that goes on with it, reports an epoch."""

    chain: int
    epoch: int


@dataclass(frozen=True)
class Race:
    """Trials with their curves and brackets."""

    brackets: int
    mode: str
    seed: int = 0

    @property
    def config(self) -> SchedulerConfig:
        return SchedulerConfig(grace_period=3, reduction_factor=3, brackets=self.brackets)

    def asha(self, chain_of: Callable[[str], tuple[str, int]], others: object = None) -> Asha:
        return Asha(self.config, MAX_EPOCHS, self.mode, chain_of, others)

    def best(self, chain: int) -> list[float]:
        """Return the running best of every epoch."""
        rng = np.random.default_rng([self.seed, chain])
        falling = rng.uniform(0.2, 1.0) + rng.uniform(0.1, 2.0) / np.arange(2, MAX_EPOCHS + 2)
        best = np.minimum.accumulate(falling + rng.normal(0, 0.03, MAX_EPOCHS))
        return (best if self.mode == "min" else -best).tolist()

    def chain(self, number: int) -> tuple[str, int]:
        """Return the key and the bracket of a chain."""
        rungs = rung_counts(self.config, MAX_EPOCHS)
        return f"trials/{number:05d}", bracket_of(self.seed, number, rungs)

    def is_on_a_rung(self, event: Event) -> bool:
        first = self.config.grace_period * 3 ** self.chain(event.chain)[1]
        return event.epoch in {3, 9} and event.epoch >= first

    def result(self, event: Event, *, repeats: bool = False) -> dict[str, object]:
        """Return what Tune is told; a report that repeats a checkpoint's epoch has the curve."""
        best = self.best(event.chain)[: event.epoch]
        curve = tuple(best) if repeats else ()
        report = TrialReport(event.epoch, best[-1], best[-1], event.epoch, curve=curve)
        return report.as_result()

    @cached_property
    def straight(self) -> dict[Event, str]:
        """The decisions when nothing interrupts, in the order of the reports."""
        asha = self.asha(lambda ray_id: self.chain(int(ray_id)))
        rng = np.random.default_rng([self.seed, 1])
        waiting, running = list(range(CHAINS)), dict.fromkeys(range(0), 0)
        decisions: dict[Event, str] = {}
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running[waiting.pop(0)] = 0
            chain = list(running)[rng.integers(len(running))]
            running[chain] += 1
            event = Event(chain, running[chain])
            rider = SimpleNamespace(trial_id=str(chain))
            decisions[event] = asha.on_trial_result(None, rider, self.result(event))
            if decisions[event] == "STOP":
                del running[chain]
        return decisions


class Driver:
    """One driver's time with the study, from its start to when it is cut off.

    Parameters
    ----------
    race : Race
    study : Study
    others : callable, optional
        For ASHA: what other drivers reported.
    rebuilt : bool
        Whether the rungs are rebuilt from the study at the start.
    """

    def __init__(
        self,
        race: Race,
        study: Study,
        others: Callable[[], Iterable[PastTrial]] | None = None,
        *,
        rebuilt: bool = True,
    ) -> None:
        self.race, self.study = race, study
        self.asha = race.asha(self.chain_of, others)
        if rebuilt:
            self.asha.rebuild(PastTrials(study).look())
        self.flights: dict[int, Trial] = {}
        self.reached: dict[int, int] = {}
        self.checkpoints: dict[int, int] = {}
        self.over: set[int] = set()
        self.is_connected = True
        """Whether what is reported reaches the study."""
        self.decisions: dict[Event, set[str]] = defaultdict(set)

    def ray_id(self, chain: int) -> str:
        return f"{chain}-as-{self.flights[chain].number}"

    def chain_of(self, ray_id: str) -> tuple[str, int]:
        return self.race.chain(int(ray_id.split("-")[0]))

    def take_up(self, checkpoints: Mapping[int, int]) -> None:
        """Continue the trials of a driver that is gone, each from its checkpoint's epoch."""
        mine = {trial.number for trial in self.flights.values()}
        running = self.study.get_trials(states=(TrialState.RUNNING,))
        for orphan in [trial for trial in running if trial.number not in mine]:
            handed_on = {name: orphan.user_attrs[name] for name in ("checkpoint", "bracket")}
            self.study.enqueue_trial({}, user_attrs=handed_on | {"continues": orphan.number})
            self.study.tell(orphan.number, state=TrialState.FAIL)
            chain = int(handed_on["checkpoint"].removeprefix("trials/"))
            self.flights[chain] = self.study.ask()
            self.reached[chain] = 0
            self.checkpoints[chain] = checkpoints[chain]

    def hear(self, event: Event) -> None:
        """Let a trial report an epoch, after what it repeats where it is a continuation."""
        chain, epoch = event
        if epoch == 1:
            self._begin(chain)
        if chain not in self.flights:
            return  # it was stopped, where the race run straight went on
        if checkpoint := self.checkpoints.pop(chain, 0):
            self._report(Event(chain, checkpoint), repeats=True)
        for missing in range(self.reached[chain] + 1, epoch + 1):
            self._report(Event(chain, missing))

    def _begin(self, chain: int) -> None:
        trial = self.flights[chain] = self.study.ask()
        self.reached[chain] = 0
        key, bracket = self.race.chain(chain)
        trial.set_user_attr("checkpoint", key)
        trial.set_user_attr("bracket", bracket)

    def _report(self, event: Event, *, repeats: bool = False) -> None:
        if event.chain in self.over:
            return
        result = self.race.result(event, repeats=repeats)
        rider = SimpleNamespace(trial_id=self.ray_id(event.chain))
        decision = self.asha.on_trial_result(None, rider, result)
        self.decisions[event].add(decision)
        self.reached[event.chain] = event.epoch
        if decision == "STOP":
            self.over.add(event.chain)
        if self.is_connected:
            self._write(event, decision, known_from=1 if repeats else event.epoch)

    def _write(self, event: Event, decision: str, known_from: int) -> None:
        trial, best = self.flights[event.chain], self.race.best(event.chain)
        for epoch in range(known_from, event.epoch + 1):
            storage = self.study._storage
            storage.set_trial_intermediate_value(trial._trial_id, epoch, best[epoch - 1])
        if event.epoch == MAX_EPOCHS:
            self.study.tell(trial, best[-1])
        elif decision == "STOP":
            self.study.tell(trial, state=TrialState.PRUNED)
