"""What the ledger remembers of each move of an alias, and what it finds out about it."""

from __future__ import annotations

import getpass
import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from chemprop_hpo.configs.secrets import mask_text, mask_url
from chemprop_hpo.storage.processes import DEAD_AFTER_S, Process, has_ended, is_here

__all__ = [
    "Intent",
    "Kind",
    "Move",
    "Outcome",
    "Reconciled",
    "RegisteredModel",
    "State",
    "say_time",
    "say_version",
]

Kind = Literal["candidate", "promote", "rollback", "adopt"]
State = Literal["intended", "done", "abandoned", "refused"]
Outcome = Literal["done", "abandoned", "refused", "under_way", "moved_by_hand"]

_USER = re.compile(r"(://)[^/?#]*@")


@dataclass(frozen=True)
class RegisteredModel:
    """A model in a registry.

    Whoever reaches the registry under another name or password means the same one, so both are
    taken out of its address.
    """

    registry: str
    """The registry's URI; that of a file with its whole path, or each folder has its own."""
    name: str

    def __post_init__(self) -> None:
        plain = _USER.sub(r"\1", mask_url(self.registry)).rstrip("/")
        object.__setattr__(self, "registry", plain)


def _present_actor() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What is to be done with an alias, and why; it holds no password.

    Versions are compared as text: MLflow's are numbers from some of its stores, and are taken.
    """

    model: RegisteredModel
    alias: str
    expected: str | None
    """The version on which the decision was made; None if the alias was not set."""
    version: str | None
    """The version that the alias gets; None takes it away."""
    kind: Kind
    reason: str
    """Why, for people."""
    decision: Mapping[str, Any] = field(default_factory=dict)
    """Each rule with its figure and bound; numbers that are not finite become text."""
    actor: str = field(default_factory=_present_actor)
    """Who decided: ``user@host pid 123`` if not given."""

    def __post_init__(self) -> None:
        for name in ("expected", "version"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else str(value))
        object.__setattr__(self, "reason", mask_text(self.reason))
        object.__setattr__(self, "decision", _strict(self.decision))

    @property
    def what(self) -> str:
        """The alias and its model, in words."""
        return f"'{self.alias}' of '{self.model.name}'"


@dataclass(frozen=True, kw_only=True)
class Move(Intent):
    """A move of an alias as the ledger remembers it.

    Times are in UTC, by the clock of the ledger's database: the server's, or with SQLite that of
    the machine that wrote it.
    """

    id: int
    number: int
    """The how many-th move of this alias it is, from 1."""
    state: State
    intended_at: datetime
    settled_at: datetime | None
    note: str | None
    """What was found where the move did not end as it was intended."""
    owner: Process | None
    """Who is at it; None if whoever was has let go of it."""
    heard_at: datetime
    """When the owner was last heard of."""

    def is_under_way(self, now: datetime) -> bool:
        """Whether it is unfinished and its owner may still be at it.

        Parameters
        ----------
        now : datetime
            The time by the ledger's clock. A process of another machine of which nothing was heard
            for `DEAD_AFTER_S` is taken for dead.
        """
        if self.state != "intended" or self.owner is None or has_ended(self.owner):
            return False
        return is_here(self.owner) or (now - self.heard_at).total_seconds() <= DEAD_AFTER_S


@dataclass(frozen=True)
class Reconciled:
    """What was found out about an alias when the ledger was compared with the registry."""

    model: RegisteredModel
    alias: str
    outcome: Outcome
    recorded: str | None
    """The version of the alias by the ledger, after this."""
    found: str | None
    """The version of the alias in the registry."""
    move: Move | None
    """The unfinished move that this is about; None if a hand has moved the alias."""

    @property
    def said(self) -> str:
        """What was found and what became of it, in one line."""
        what = f"'{self.alias}' of '{self.model.name}'"
        found, recorded = say_version(self.found), say_version(self.recorded)
        if self.move is None:
            return (
                f"{what} is {found} in the registry and {recorded} by the ledger: "
                "it was moved by hand"
            )
        to, actor = say_version(self.move.version), self.move.actor
        if self.outcome == "under_way":
            return f"{what} is being moved to {to} by {actor} since {say_time(self.move)}"
        return (
            f"{what}: the move to {to} that {actor} left unfinished is {self.outcome}; "
            f"the registry has {found}"
        )


def say_version(version: str | None) -> str:
    """Return a version in words."""
    return "not set" if version is None else f"version {version}"


def say_time(move: Move) -> str:
    """Return when a move ended, or began if it has not, in words."""
    return f"{move.settled_at or move.intended_at:%Y-%m-%d %H:%M:%S} UTC"


def _strict(value: Any) -> Any:
    # JSON has no numbers that are not finite, and PostgreSQL takes none.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
