"""Name a trial's figures as people look for them: ``best_val_rmse``, ``train_rmse``, the gap."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["plan_figures", "validation_figures"]

_GAP = "generalisation_gap"
# Each epoch logs the training's own criterion under this name; the yardstick's is another thing.
_OTHER_MEANING = "train_loss"


def plan_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a training's best epoch that no epoch logs under their names.

    ``best_<name>`` is each validation figure of the weights that are kept (``best_val_rmse``,
    ``best_val_r2``): ``val_rmse`` itself is a curve, whose last value is the last epoch's.
    ``train_rmse`` and the like, and ``generalisation_gap``, are of the same weights. Several
    targets have ``nrmse`` in place of ``rmse``. Figures of one target among several stay under
    ``best/`` only.

    Parameters
    ----------
    metrics : mapping of str to float
        As `chemprop_hpo.hpo.chemistry.training.metrics.score` names them.
    """
    best = {f"best_{name}": value for name, value in validation_figures(metrics).items()}
    given = {n: value for n, value in metrics.items() if n.startswith("best_")}
    train = {
        name: value
        for name, value in metrics.items()
        if name.startswith("train_") and "/" not in name and name != _OTHER_MEANING
    }
    gap = {_GAP: metrics[_GAP]} if _GAP in metrics else {}
    return best | given | train | gap


def validation_figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the validation figures that stand for all targets together."""
    return {n: value for n, value in metrics.items() if n.startswith("val_") and "/" not in n}
