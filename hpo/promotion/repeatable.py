"""The rules by which a model that is promoted can be trained again."""

from __future__ import annotations

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.promotion.decision import RuleOutcome, ruled
from chemprop_hpo.hpo.promotion.records import ModelRecord

__all__ = ["repeatable"]

SHOWN = 12
"""Characters of a hash, by which it is known again."""


def repeatable(record: ModelRecord, config: PromotionConfig) -> tuple[RuleOutcome, ...]:
    """Ask for seed, hyperparameters, git commit, dataset and test set, and for a clean tree."""
    known = record.provenance
    # An empty mapping says as little as none.
    hyperparameters = len(known.hyperparameters or ()) or None
    return (
        _logged("seed", "the seed", known.seed),
        _logged("hyperparameters", "the hyperparameters", hyperparameters),
        _logged("git_commit", "the git commit", _text(known.git_commit)),
        _clean(record, config),
        _logged("dataset", "the sha256 of the dataset", _text(known.dataset)),
        _logged("test_set", "the sha256 of the test set", _text(record.test_set)),
    )


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None


def _logged(name: str, noun: str, value: int | str | None) -> RuleOutcome:
    verb = "are" if noun.endswith("s") else "is"
    if value is None:
        text = f"{noun} {verb} not logged, without which the model cannot be trained again"
        return ruled(name, False, text, None, "logged")
    return ruled(name, True, f"{noun} {verb} logged: {str(value)[:SHOWN]}", value, "logged")


def _clean(record: ModelRecord, config: PromotionConfig) -> RuleOutcome:
    dirty = record.provenance.dirty
    state = "not known" if dirty is None else "dirty" if dirty else "clean"
    text = {
        "clean": "the code was as committed",
        "dirty": "the code had uncommitted changes",
        "not known": "whether the code had uncommitted changes is not known",
    }[state]
    if state != "clean":
        text += (
            "; promotion.allow_dirty lets it pass"
            if config.allow_dirty
            else "; commit them and train again, or set promotion.allow_dirty: true"
        )
    asked = "any" if config.allow_dirty else "clean"
    return ruled("git_tree", state == "clean" or config.allow_dirty, text, state, asked)
