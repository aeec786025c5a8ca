"""Let the champion be the version before it; nothing is deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chemprop_hpo.configs.errors import PromotionConflictError, TrackingError, UsageError
from chemprop_hpo.hpo.promotion.registered.registry import CHAMPION, STATUS, Registry
from chemprop_hpo.hpo.promotion.settling import (
    FAILED,
    is_of,
    refuse_moved_by_hand,
    settle,
    tag_failed,
)
from chemprop_hpo.storage.ledger import Intent, Ledger, Move, Reconciled

__all__ = ["Rollback", "roll_back"]


@dataclass(frozen=True)
class Rollback:
    """Which version failed, and which is the champion now.

    Attributes
    ----------
    failed, champion : str
        Their versions.
    settled : tuple of Reconciled
        What was found before.
    undone : str or None
        What the registry no longer let be done after the champion had moved.
    """

    failed: str
    champion: str
    settled: tuple[Reconciled, ...]
    undone: str | None = None


def roll_back(
    registry: Registry,
    ledger: Ledger,
    reason: str,
    decision: Mapping[str, Any] | None = None,
    *,
    expected: str | None = None,
) -> Rollback:
    """Let ``champion`` point to the last version before it that was not rolled back itself.

    The failed version keeps its figures and gets the tag ``status=failed_in_monitoring``.

    Parameters
    ----------
    registry : Registry
    ledger : Ledger
    reason : str
        Why, for people.
    decision : mapping, optional
        Of a monitoring, where that asked for it.
    expected : str, optional
        The champion that the decision was made on; the present one if not given.

    Raises
    ------
    UsageError
        If there is no champion, or none before it.
    PromotionConflictError
        If another moved the champion at the same time, or a hand did so before.
    TrackingError, StorageError
        If the registry or the ledger cannot be used.
    """
    settled = settle(registry, ledger)
    refuse_moved_by_hand(settled)
    failed = registry.alias(CHAMPION)
    if failed is None:
        raise UsageError(
            f"the registered model '{registry.name}' has no champion; make one with: "
            "chemprop-hpo registry promote"
        )
    if expected not in (None, failed):
        raise PromotionConflictError(
            f"version {expected} of '{registry.name}' was judged, and version {failed} is the "
            "champion by now; judge that one"
        )
    previous = _previous(registry, ledger.history(registry.model, CHAMPION), failed)
    intent = Intent(
        model=registry.model,
        alias=CHAMPION,
        expected=failed,
        version=previous,
        kind="rollback",
        reason=reason,
        decision=decision or {},
    )
    move = ledger.move(intent, read=registry.alias, write=registry.set_alias)
    return Rollback(failed, previous, settled, _tagged(registry, failed, move))


def _tagged(registry: Registry, failed: str, move: Move) -> str | None:
    """Tag the version that failed; return why that could not be done."""
    try:
        tag_failed(registry, failed, move)
    except TrackingError as error:
        return f"version {failed} is not tagged yet, which the next command does: {error}"
    return None


def _previous(registry: Registry, moves: Sequence[Move], failed: str) -> str:
    standing = {v.number: v for v in registry.versions() if v.tags.get(STATUS) != FAILED}
    for number, move in _champions(moves):
        if number != failed and number in standing and is_of(move, standing[number]):
            return number
    raise UsageError(
        f"version {failed} of '{registry.name}' has no champion before it that was not rolled "
        "back; promote another with: chemprop-hpo registry promote"
    )


def _champions(moves: Sequence[Move]) -> Iterator[tuple[str | None, Move]]:
    """Yield each version that was champion with a move that tells so, the latest first."""
    for move in reversed(moves):
        if move.state == "done":
            yield move.version, move
            # What was there before an adoption is what the ledger believed, and nobody has seen.
            if move.kind != "adopt":
                yield move.expected, move
