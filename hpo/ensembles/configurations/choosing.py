"""Look through a study for the configurations that an ensemble is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.training.metrics import to_original_units
from chemprop_hpo.hpo.ensembles.configurations.complete import require_complete
from chemprop_hpo.hpo.ensembles.configurations.selection import (
    Decision,
    Limits,
    Rule,
    select_trials,
)
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import best_trials

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """Which configurations are wanted: how many, by which rule, and how far apart."""

    top_k: int = 3
    rule: Rule = "best"
    min_distance: float = Limits.distance


def choose(study: Study, config: SweepConfig, fold: FoldTables, choice: Choice) -> list[Decision]:
    """Take the configurations of a study by a rule, and say of each why.

    Parameters
    ----------
    study : optuna.Study
    config : SweepConfig
        Its own configuration.
    fold : FoldTables
        The fold that its trials were trained on.
    choice : Choice

    Raises
    ------
    UsageError
        If the study has no complete trial, or fewer that satisfy the rule.
    """
    ranked = best_trials(study, require_complete(study))
    limits = Limits(
        gap=config.promotion.max_generalisation_gap * _gap_unit(config, fold),
        r2_tolerance=config.promotion.val_r2_tolerance,
        distance=choice.min_distance,
    )
    return select_trials(ranked, choice.top_k, choice.rule, limits, config.search_space)


def _gap_unit(config: SweepConfig, fold: FoldTables) -> float:
    """Return what a gap is measured in: a trial's own is in the target's units if it is one."""
    if len(config.data.target_cols) > 1 or config.task == "classification":
        return 1.0
    labels = to_original_units(fold.train.targets[:, 0], config.data.transforms[0])
    return float(np.nanstd(labels)) or 1.0
