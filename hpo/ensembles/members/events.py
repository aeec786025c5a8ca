"""What happens while members are trained, as it is told to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chemprop_hpo.hpo.events import Watchers

__all__ = [
    "MemberAudience",
    "MemberEnded",
    "MemberEpoch",
    "MemberObserver",
    "MemberStarted",
    "MembersEnded",
    "MembersStarted",
    "Tally",
]


@dataclass(frozen=True)
class Tally:
    """How far all members together are; those of other drivers are counted as they are seen."""

    complete: int
    failed: int
    total: int

    @property
    def ended(self) -> int:
        """How many need no more training."""
        return self.complete + self.failed


@dataclass(frozen=True)
class MembersStarted:
    """A driver begins, or goes on, to train members, ``concurrency`` at once."""

    study: str
    metric: str
    mode: str
    max_epochs: int
    concurrency: int
    tally: Tally


@dataclass(frozen=True)
class MemberStarted:
    """A member got a worker; ``epoch`` is the last one that is known of it, mostly 0."""

    trial: int
    split: int
    fold: int
    seed: int
    epoch: int
    max_epochs: int
    tally: Tally


@dataclass(frozen=True)
class MemberEpoch:
    """A member reported an epoch. Epochs count from 1; ``best`` is the best value so far."""

    trial: int
    split: int
    fold: int
    epoch: int
    max_epochs: int
    value: float
    best: float
    best_epoch: int
    seconds: float
    tally: Tally


@dataclass(frozen=True)
class MemberEnded:
    """A member is no longer trained here.

    ``state`` is ``complete`` or ``failed``; ``waiting`` where it is to be gone on with later,
    and ``running`` where another driver goes on with it.
    """

    trial: int
    split: int
    fold: int
    state: str
    value: float | None
    best_epoch: int | None
    epochs: int
    stop_reason: str
    error: str | None
    tally: Tally


@dataclass(frozen=True)
class MembersEnded:
    """The driver trains no more; ``reason`` is ``finished``, ``interrupted`` or ``failed``."""

    reason: str
    tally: Tally


class MemberObserver(Protocol):
    """Whoever watches. All calls come from the driver's main thread, in order."""

    def members_started(self, event: MembersStarted) -> None:
        """Be told that the driver begins."""

    def member_started(self, event: MemberStarted) -> None:
        """Be told that a member has a worker."""

    def member_epoch(self, event: MemberEpoch) -> None:
        """Be told of one epoch."""

    def member_ended(self, event: MemberEnded) -> None:
        """Be told how a member ended."""

    def tick(self) -> None:
        """Be called several times a second while members are trained."""

    def members_ended(self, event: MembersEnded) -> None:
        """Be told that the driver is done; the last call."""


class MemberAudience(Watchers[MemberObserver]):
    """Whoever watches the training of members."""
