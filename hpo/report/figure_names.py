"""What the figures are called, in which order they stand, and which way is better."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "figure_order",
    "figure_title",
    "has_unit",
    "headline_figure",
    "is_better_lower",
    "macro_figure",
    "macro_title",
]

_TITLES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "pearson": "Pearson\u00a0r",
    "spearman": "Spearman\u00a0ρ",
    "kendall": "Kendall\u00a0τ",
    "rae": "RAE",
    "roc_auc": "ROC-AUC",
    "prc_auc": "PRC-AUC",
    "brier": "Brier score",
    "log_loss": "Log loss",
}
_LOWER = {"rmse", "mae", "rae", "brier", "log_loss"}
_WITH_UNIT = {"rmse", "mae"}


def figure_title(name: str) -> str:
    """Return what a figure is called on the page."""
    return _TITLES.get(name, name)


def figure_order(names: set[str]) -> list[str]:
    """Sort figures as they stand in tables, unknown ones last."""
    return [name for name in _TITLES if name in names] + sorted(names - set(_TITLES))


def has_unit(name: str) -> bool:
    """Whether a figure is measured in its target's unit."""
    return name in _WITH_UNIT


def is_better_lower(name: str) -> bool:
    """Whether a smaller figure is the better one."""
    return name in _LOWER


def headline_figure(task: Literal["regression", "classification"]) -> str:
    """Return the figure that a single target is judged by first."""
    return "rmse" if task == "regression" else "roc_auc"


def macro_figure(task: Literal["regression", "classification"]) -> str:
    """Return the figure whose mean several targets are judged by."""
    return "rae" if task == "regression" else "roc_auc"


def macro_title(task: Literal["regression", "classification"]) -> str:
    """Return what the mean figure over several targets is called."""
    return f"Mean {figure_title(macro_figure(task))} over targets"
