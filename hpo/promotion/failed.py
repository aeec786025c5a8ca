"""Tell which versions were rolled back, and which have the weights of one that was."""

from __future__ import annotations

from chemprop_hpo.hpo.promotion.decision import RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.registered.registry import STATUS, Registry
from chemprop_hpo.hpo.promotion.settling import FAILED

__all__ = ["WEIGHTS_TAG", "failed_before"]

WEIGHTS_TAG = "chemprop_hpo.weights"
"""Of a version: what tells its weights from any other's, wherever they come from."""


def failed_before(
    registry: Registry, number: str | None = None, weights: str | None = None
) -> RuleOutcome | None:
    """Return the rule that forbids what was rolled back, or None if nothing does.

    A model that was trained again on other code and has the same weights is the same model.

    Parameters
    ----------
    registry : Registry
    number : str, optional
        The model's version, if it has one.
    weights : str, optional
        The value of its `WEIGHTS_TAG`, if that is known.
    """
    for version in registry.versions():
        same = weights is not None and version.tags.get(WEIGHTS_TAG) == weights
        if version.tags.get(STATUS) == FAILED and (version.number == number or same):
            text = f"version {version.number} was champion before, and was rolled back"
            if version.number != number:
                text = f"it has the weights of version {version.number}, which was rolled back"
            return ruled("rolled_back", False, text, FAILED, "never rolled back")
    return None
