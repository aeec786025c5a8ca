"""Take over what a hand has moved in MLflow."""

from __future__ import annotations

from collections.abc import Iterable

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.promotion.registered.registry import Registry
from chemprop_hpo.hpo.promotion.settling import settle
from chemprop_hpo.storage.ledger import Intent, Ledger, Move

__all__ = ["adopt_moved", "unknown_versions"]


def adopt_moved(registry: Registry, ledger: Ledger, reason: str) -> list[Move]:
    """Enter in the ledger each alias that is elsewhere in the registry; nothing is moved.

    Raises
    ------
    PromotionConflictError
        If one moves at the same time.
    TrackingError, StorageError
        If the registry or the ledger cannot be used.
    """
    found = [one for one in settle(registry, ledger) if one.outcome == "moved_by_hand"]
    return [
        ledger.adopt(
            Intent(
                model=registry.model,
                alias=one.alias,
                expected=one.recorded,
                version=one.found,
                kind="adopt",
                reason=reason,
            ),
            read=registry.alias,
        )
        for one in found
    ]


def unknown_versions(registry: Registry, adopted: Iterable[Move]) -> list[str]:
    """Tell which of the versions that were adopted have no figures, so that none is compared.

    Raises
    ------
    TrackingError
        If the registry cannot be used.
    """
    said = []
    for number in dict.fromkeys(move.version for move in adopted if move.version is not None):
        try:
            registry.record(registry.version(number))
        except DataError as error:
            said.append(str(error))
    return said
