"""Bring ledger and registry together before anything is decided on them."""

from __future__ import annotations

from collections.abc import Iterable

from chemprop_hpo.configs.errors import PromotionConflictError
from chemprop_hpo.hpo.promotion.registered.registry import (
    CANDIDATE,
    CHAMPION,
    STATUS,
    Registry,
    Version,
)
from chemprop_hpo.storage.ledger import Ledger, Move, Reconciled

__all__ = ["FAILED", "is_of", "refuse_moved_by_hand", "settle", "tag_failed"]

FAILED = "failed_in_monitoring"
"""The status of a version that was rolled back."""

_SINCE = f"{STATUS}_since"
"""The tag with the time of the rollback; it is written last, so that all are written once."""


def settle(registry: Registry, ledger: Ledger) -> tuple[Reconciled, ...]:
    """Settle what a killed process left half done, and return what was found.

    No alias is moved. A version that was rolled back gets its status where the process that
    rolled it back ended before it wrote it. It is written once: who takes it away in MLflow takes
    the rollback for a mistake, and the version may be promoted again.
    """
    found = ledger.reconcile(registry.model, read=registry.alias, aliases=(CANDIDATE, CHAMPION))
    _tag_rolled_back(registry, ledger)
    return found


def refuse_moved_by_hand(settled: Iterable[Reconciled]) -> None:
    """Refuse to go on where a hand has moved one of our aliases.

    Raises
    ------
    PromotionConflictError
        Which alias it is, and how to take it over.
    """
    moved = [one.said for one in settled if one.outcome == "moved_by_hand"]
    if moved:
        raise PromotionConflictError(
            f"{'; '.join(moved)}, and is left alone; move it back, or take it over with: "
            "chemprop-hpo registry adopt"
        )


def is_of(move: Move, version: Version) -> bool:
    """Whether a move can be of this version, and not of an earlier one of its number.

    A registered model that was deleted and made anew counts its versions from 1 again.
    """
    return version.created <= move.intended_at


def tag_failed(registry: Registry, version: str, rollback: Move) -> None:
    """Tag a version that was rolled back with its status, the reason and the time."""
    tags = {STATUS: FAILED, f"{STATUS}_reason": rollback.reason, _SINCE: _time_of(rollback)}
    registry.tag(version, tags)


def _tag_rolled_back(registry: Registry, ledger: Ledger) -> None:
    moves = ledger.history(registry.model, CHAMPION)
    rolled = {m.expected: m for m in moves if m.kind == "rollback" and m.state == "done"}
    if not rolled:
        return
    for version in registry.versions():
        move = rolled.get(version.number)
        if move is None or not is_of(move, version):
            continue
        if version.tags.get(_SINCE) != _time_of(move):
            tag_failed(registry, version.number, move)


def _time_of(move: Move) -> str:
    return move.intended_at.isoformat(timespec="seconds")
