"""One sweep that is killed and resumed until its budget is spent, and judged on the way."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.databases import Database
from tests.faults.integrity import integrity_violations
from tests.faults.invariants import Witness, failures, violations_at_the_end, violations_in_flight
from tests.faults.remains import end_all, file_violations, processes_of
from tests.faults.shell import Command, Shell
from tests.faults.small_sweep import STUDY, write_sweep
from tests.faults.snapshots import Snapshot, read_snapshot
from tests.faults.victims import Blow, Victim, kill_raylet, kill_worker, raylets, workers
from tests.faults.watch import Progress

__all__ = ["Outcome", "Story"]

POLL_S = 0.15
SNAPSHOT_EVERY_S = 2.0
COMMAND_S = 400.0
RAYLET_S = 120.0
MOST_COMMANDS = 12

SIGKILLED = -9

# On a machine that is busy with much else, Ray's own limits are too short.
NO_RAY = "Ray did not start on this machine"


@dataclass
class Outcome:
    """What became of one sweep."""

    seed: int
    kills: Counter[Victim] = field(default_factory=Counter)
    trials: int = 0
    commands: int = 0
    violations: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Story:
    """Runs a small sweep and strikes it.

    Parameters
    ----------
    shell : Shell
        Starts the commands.
    database : Database
        Where the study is kept.
    seed : int
        Draws the sweep and everything that is left to chance.
    blows : iterable of Blow
        The kills, in order. One that ends the driver is followed by a new command; one whose
        moment does not come in a command is tried in the next.
    tell : callable
        Gets a line on each event.
    """

    def __init__(
        self,
        shell: Shell,
        database: Database,
        seed: int,
        blows: Iterable[Blow],
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._shell = shell
        self._database = database
        self._draw = random.Random(f"story {seed}")
        self._blows = deque(blows)
        self._tell = tell
        self._witness = Witness()
        self._began = time.monotonic()
        self.outcome = Outcome(seed)

    def run(self) -> Outcome:
        """Tell the story to its end; nothing of it is left, unless there is something to look at."""
        # A short path: Ray puts sockets below it.
        self.folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
        self._url = self._database.new(self.folder)
        try:
            config = write_sweep(self.folder, self._url, self._draw)
            self._total = int(config["num_samples"])
            with Progress(self._url) as self._progress:
                self._go_through_all_commands()
                self._judge_the_end(int(config["transfer_learning"]["top_k"]))
        finally:
            self._database.mend()
            end_all(self.folder)
            self._database.drop(self._url)
            if not self.outcome.violations:
                shutil.rmtree(self.folder, ignore_errors=True)
        return self.outcome

    # ------------------------------------------------------------------ the commands

    def _go_through_all_commands(self) -> None:
        while self.outcome.commands < MOST_COMMANDS:
            blows = self._blows_of_next_command()
            command = self._start(blows)
            try:
                ended_well = self._accompany(command, blows)
            finally:
                command.kill()
                self._database.mend()
            self._clear_away(command)
            if ended_well:
                return
        self._violation(f"the budget is not spent after {MOST_COMMANDS} commands")

    def _blows_of_next_command(self) -> deque[Blow]:
        chosen: deque[Blow] = deque()
        while self._blows:
            chosen.append(self._blows.popleft())
            if chosen[-1].ends_the_driver:
                break
        return chosen

    def _start(self, blows: deque[Blow]) -> Command:
        arguments: tuple[str, ...] = ("resume", "--study", STUDY, "--storage", self._url)
        if self._look() is None or self._draw.random() < 0.25:
            arguments = ("sweep", "small.yaml")
        # A step is counted from the start of the command.
        first = blows[0] if blows else None
        die_at = first.step(self._trials_left) if first else None
        self.outcome.commands += 1
        # With the traceback of whatever goes wrong, should it be looked into.
        command = self._shell.start(self.folder, *arguments, "--debug", die_at=die_at)
        self._event(f"{arguments[0]} begins" + (f", to die at step {die_at}" if die_at else ""))
        return command

    def _accompany(self, command: Command, blows: deque[Blow]) -> bool:
        """Strike a command while it runs; return whether it ended well, the budget spent."""
        dealt: list[Blow] = []
        while blows:
            blow = blows.popleft()
            if not self._reaches(command, blow):
                self._blows.extendleft(reversed([blow, *blows]))
                break
            if self._strike(command, blow):
                dealt.append(blow)
                self.outcome.kills[blow.victim] += 1
                self._event(f"killed: {blow}")
        limit = RAYLET_S if dealt and dealt[-1].victim == "raylet" else COMMAND_S
        if not self._until(command, lambda: False, limit) and command.poll() is None:
            self._violation(f"a command did not end within {limit:g} s", command)
        return self._judge_exit(command, dealt)

    @property
    def _trials_left(self) -> int:
        return max(1, self._total - self._progress.look().trained)

    # ------------------------------------------------------------------ moments

    def _reaches(self, command: Command, blow: Blow) -> bool:
        """Wait for a blow's moment; False if the command ends before."""
        if not self._until(command, self._anchor(command, blow)):
            return False
        moment = time.monotonic() + blow.delay_s
        return self._until(command, lambda: time.monotonic() >= moment)

    def _anchor(self, command: Command, blow: Blow) -> Callable[[], bool]:
        epoch = self._progress.look().epochs + blow.epoch(self._trials_left)
        anchors: dict[str, Callable[[], bool]] = {
            "start": lambda: True,
            "raylet": lambda: bool(raylets(command.home)),
            "worker": lambda: bool(workers(command.home)),
            "epoch": lambda: self._progress.look().epochs >= epoch,
            "end": lambda: self._progress.look().trained >= self._total,
            "step": lambda: command.poll() == SIGKILLED,
        }
        return anchors[blow.anchor]

    def _until(
        self, command: Command, is_there: Callable[[], bool], limit: float = COMMAND_S
    ) -> bool:
        """Wait for a condition; False if the command ends before, or it takes too long.

        The study is looked at meanwhile: what is finished must stay as it is.
        """
        deadline, look_at = time.monotonic() + limit, 0.0
        while not is_there():
            if command.poll() is not None or time.monotonic() > deadline:
                return False
            if time.monotonic() > look_at:
                self._look(in_flight=True)
                look_at = time.monotonic() + SNAPSHOT_EVERY_S
            time.sleep(POLL_S)
        return True

    # ------------------------------------------------------------------ kills

    def _strike(self, command: Command, blow: Blow) -> bool:
        """Kill; False if there was nothing to kill."""
        self._look(in_flight=True)
        if blow.anchor == "step":
            return True
        if blow.victim == "driver":
            if command.poll() is not None:
                return False
            command.kill()
            return True
        if blow.victim == "raylet":
            return kill_raylet(command.home)
        if blow.victim == "worker":
            return kill_worker(command.home, self._draw)
        self._database.strike(self._url)
        time.sleep(blow.lasts_s)
        self._database.mend()
        return True

    # ------------------------------------------------------------------ judging

    def _judge_exit(self, command: Command, dealt: list[Blow]) -> bool:
        last = dealt[-1] if dealt else None
        self._event(f"ended with {command.code}, {self._progress.look().trained}/{self._total}")
        if command.code == 1 and NO_RAY in command.output:
            self._event("Ray did not start, which says nothing of the sweep")
            return False
        expected = {0}
        if last is not None and last.victim == "driver":
            expected = {SIGKILLED}
        elif last is not None and last.victim == "raylet":
            # At the very end, or while Ray starts (it is tried again), it is not missed.
            expected = {0, 1}
        if command.code not in expected:
            blows = ", ".join(map(str, dealt)) or "no kill"
            self._violation(f"a command ended with {command.code}, after {blows}", command)
        if command.code == 1 and "chemprop-hpo resume" not in command.output:
            self._violation("a command that failed does not say how to resume", command)
        if self._look() is None and self._progress.epochs:
            self._violation("the study cannot be read", command)
        return command.code == 0

    def _clear_away(self, command: Command) -> None:
        """End what is left of a command's Ray, at once or while the next command runs."""
        if command.code == 0 or self._draw.random() < 0.5:
            living = processes_of(command.home)
            if command.code == 0 and living:
                self._violation(f"a command that ended by itself leaves {living}", command)
            end_all(command.home)

    def _judge_the_end(self, top_k: int) -> None:
        now = read_snapshot(self._url, STUDY)
        if now is None:
            self._violation("the study cannot be read")
            return
        self.outcome.trials = len(now.links)
        for line in [
            *violations_at_the_end(now),
            *failures(now),
            *file_violations(self.folder / "study", now, top_k),
            *integrity_violations(self._url),
        ]:
            self._violation(line)

    def _look(self, *, in_flight: bool = False) -> Snapshot | None:
        """Read the study, and notice what is amiss already."""
        now = read_snapshot(self._url, STUDY)
        if now is not None:
            for line in self._witness.see(now) + (violations_in_flight(now) if in_flight else []):
                self._violation(line)
        return now

    def _violation(self, line: str, command: Command | None = None) -> None:
        if line not in self.outcome.violations:
            self.outcome.violations.append(line)
            self._event(f"VIOLATION: {line}")
            if command is not None:
                self._event(f"its last lines:\n{command.output[-3000:]}")

    def _event(self, line: str) -> None:
        text = f"{time.monotonic() - self._began:6.1f} s  {line}"
        self.outcome.events.append(text)
        self._tell(text)
