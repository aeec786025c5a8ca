"""Records of models that satisfy every rule, to be spoilt one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chemprop_hpo.configs.schema import PromotionConfig
from chemprop_hpo.hpo.promotion.decision import Decision, RuleOutcome
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord, Provenance

CONFIG = PromotionConfig()

PROVENANCE = Provenance(
    seed=0, hyperparameters={"depth": 3}, git_commit="c0ffee", dirty=False, dataset="d" * 64
)

ONE = {
    "best_val_rmse": 0.7,
    "val_rmse": 0.7,
    "val_r2": 0.8,
    "train_rmse": 0.5,
    "generalisation_gap": 0.2,
    "test_rmse": 0.66,
    "test_mae": 0.5,
    "test_r2": 0.85,
}
SEVERAL = {
    "val_nrmse": 0.6,
    "val_r2": 0.6,
    "generalisation_gap": 0.1,
    "test_nrmse": 0.5,
    "test_r2": 0.7,
    "test_rmse/a": 1.0,
    "test_mae/a": 0.8,
    "test_rmse/b": 300.0,
    "test_transformed_rmse/b": 0.25,
    "test_mae/b": 200.0,
}
CLASSES = {
    "val_loss": 0.4,
    "val_roc_auc": 0.9,
    "val_prc_auc": 0.7,
    "generalisation_gap": 0.1,
    "test_roc_auc": 0.9,
    "test_prc_auc": 0.7,
}
TARGETS = {
    "one": (JudgedTarget("y", label_std=2.0),),
    "several": (
        JudgedTarget("a", label_std=2.0),
        JudgedTarget("b", transform="log10", label_std=0.5),
    ),
    "classes": (JudgedTarget("active"),),
}
METRICS = {"one": ONE, "several": SEVERAL, "classes": CLASSES}


def record(
    of: str = "one", version: str = "2", metrics: dict[str, float] | None = None, **more: Any
) -> ModelRecord:
    """Return a record of one target, of several, or of a classification."""
    made = ModelRecord(
        version=version,
        kind="model",
        task="classification" if of == "classes" else "regression",
        targets=TARGETS[of],
        metrics=METRICS[of] | (metrics or {}),
        completed=True,
        provenance=PROVENANCE,
        test_set="t" * 64,
    )
    return replace(made, **more)


def champion(of: str = "one", **metrics: float) -> ModelRecord:
    """Return a record that the plain one beats by far."""
    worse = {
        "one": {"test_rmse": 0.8, "test_mae": 0.6},
        "several": {"test_rmse/a": 1.4, "test_transformed_rmse/b": 0.3, "test_nrmse": 0.65},
        "classes": {"test_roc_auc": 0.85},
    }[of]
    return record(of, "1", worse | metrics)


def without(name: str, of: str = "one", **more: Any) -> ModelRecord:
    """Return a record that lacks one metric."""
    metrics = {key: value for key, value in METRICS[of].items() if key != name}
    return replace(record(of), metrics=metrics, **more)


def settings(**changed: Any) -> PromotionConfig:
    return PromotionConfig(**changed)


def rule(decision: Decision, name: str) -> RuleOutcome:
    """Return the outcome of one rule; there must be exactly one of the name."""
    (found,) = [outcome for outcome in decision.rules if outcome.name == name]
    return found


def blocked(decision: Decision) -> list[str]:
    return [outcome.name for outcome in decision.blocked]
