"""Make the candidate the champion, if all rules let it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chemprop_hpo.configs.errors import (
    PromotionConflictError,
    StorageError,
    TrackingError,
    UsageError,
)
from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.evaluation.paired import PairedGain
from chemprop_hpo.hpo.promotion.decision import Decision
from chemprop_hpo.hpo.promotion.failed import WEIGHTS_TAG, failed_before
from chemprop_hpo.hpo.promotion.paired_rows import Paired, gain_over
from chemprop_hpo.hpo.promotion.policy import promotable
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.registered.registry import (
    CANDIDATE,
    CHAMPION,
    Registry,
    Version,
)
from chemprop_hpo.hpo.promotion.settling import refuse_moved_by_hand, settle
from chemprop_hpo.storage.ledger import Intent, Ledger, Reconciled

__all__ = ["Promotion", "promote"]

DECISIVE = ("test_rmse", "test_nrmse", "test_roc_auc")
"""Rules of which one says by how much the candidate is better."""


@dataclass(frozen=True)
class Promotion:
    """What was decided on the candidate, and what was done.

    Attributes
    ----------
    candidate : str
        Its version.
    champion : str or None
        The version that it is compared with.
    decision : Decision
    gain : PairedGain or None
        Of the candidate over the champion on their test rows, where both are known.
    moved : bool
        Whether the alias was moved.
    settled : tuple of Reconciled
        What was found before.
    undone : str or None
        What registry or ledger no longer let be done after the champion had moved.
    """

    candidate: str
    champion: str | None
    decision: Decision
    gain: PairedGain | None
    moved: bool
    settled: tuple[Reconciled, ...]
    undone: str | None = None


def promote(
    registry: Registry, ledger: Ledger, config: PromotionConfig, *, dry_run: bool = False
) -> Promotion:
    """Decide on the candidate, and let ``champion`` point to it if it may.

    Afterwards there is no candidate; where the process ends in between, the candidate is the
    champion too, until the next candidate comes.

    Parameters
    ----------
    registry : Registry
    ledger : Ledger
    config : PromotionConfig
        The bounds.
    dry_run : bool
        Decide, and move nothing.

    Raises
    ------
    UsageError
        If there is no candidate, or it is the champion already.
    DataError
        If nothing is known of one of the two.
    PromotionConflictError
        If the champion is another by now than the one that was compared, or a hand moved it.
    TrackingError, StorageError
        If the registry or the ledger cannot be used.
    """
    settled = settle(registry, ledger)
    refuse_moved_by_hand(settled)
    candidate = _candidate(registry)
    champion = _with_record(registry, registry.alias(CHAMPION))
    if champion is not None and champion[0].number == candidate[0].number:
        raise UsageError(
            f"version {champion[0].number} of '{registry.name}' is the champion already; "
            "register another with: chemprop-hpo registry candidate"
        )
    paired = Paired(None) if champion is None else gain_over(registry, candidate, champion)
    decision = _decide(registry, candidate, champion, config, paired)
    before = None if champion is None else champion[0].number
    moved = decision.allowed and not dry_run
    undone = _move(registry, ledger, candidate[0].number, before, decision) if moved else None
    return Promotion(candidate[0].number, before, decision, paired.gain, moved, settled, undone)


def _candidate(registry: Registry) -> tuple[Version, ModelRecord]:
    found = _with_record(registry, registry.alias(CANDIDATE))
    if found is None:
        raise UsageError(
            f"there is no candidate of the registered model '{registry.name}'; register one "
            "with: chemprop-hpo registry candidate"
        )
    return found


def _with_record(registry: Registry, number: str | None) -> tuple[Version, ModelRecord] | None:
    if number is None:
        return None
    version = registry.version(number)
    return version, registry.record(version)


def _decide(
    registry: Registry,
    candidate: tuple[Version, ModelRecord],
    champion: tuple[Version, ModelRecord] | None,
    config: PromotionConfig,
    paired: Paired,
) -> Decision:
    version, record = candidate
    decision = promotable(
        record,
        None if champion is None else champion[1],
        config,
        paired.probability,
        paired.note,
    )
    failed = failed_before(registry, version.number, version.tags.get(WEIGHTS_TAG))
    return decision if failed is None else replace(decision, rules=(*decision.rules, failed))


def _why(decision: Decision) -> str:
    """Return what was decisive, in one line; the ledger has all rules beside it."""
    decisive = [r.text for r in decision.rules if r.name in (*DECISIVE, "first_champion")]
    return "; ".join(decisive)


def _move(
    registry: Registry, ledger: Ledger, version: str, before: str | None, decision: Decision
) -> str | None:
    """Let ``champion`` point to the version, ``candidate`` to none; return what was not done."""
    intent = Intent(
        model=registry.model,
        alias=CHAMPION,
        expected=before,
        version=version,
        kind="promote",
        reason=_why(decision),
        decision=decision.as_dict(),
    )
    ledger.move(intent, read=registry.alias, write=registry.set_alias)
    done = replace(
        intent,
        alias=CANDIDATE,
        expected=version,
        version=None,
        reason=f"version {version} is the champion",
    )
    try:
        ledger.move(done, read=registry.alias, write=registry.set_alias)
    except PromotionConflictError:
        return None  # another candidate has come meanwhile, and stays
    except (StorageError, TrackingError) as error:
        return f"version {version} is still the candidate as well, until another comes: {error}"
    return None
