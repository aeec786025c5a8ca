"""Name the figures that a model is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from chemprop_hpo.hpo.promotion.records import ModelRecord

__all__ = ["Judged", "judged_by"]


@dataclass(frozen=True)
class Judged:
    """Names of metrics, which follow from the task and the number of targets.

    Attributes
    ----------
    validation : str
        What a trial was chosen by.
    test : str
        What must improve.
    guards : tuple of str
        What must not become worse by more than its tolerance; of several targets, each.
    fit : str
        What must be close to the champion's on validation rows.
    test_fit : str
        The same on test rows.
    """

    validation: str
    test: str
    guards: tuple[str, ...]
    fit: str
    test_fit: str

    @property
    def registered(self) -> tuple[str, ...]:
        """All that must be logged before a model is registered, beside the gap."""
        return tuple(dict.fromkeys((self.validation, self.test, *self.guards, self.test_fit)))


def judged_by(record: ModelRecord) -> Judged:
    """Return the names of the figures that decide.

    ============== ================ ================= =====================
    role           one target       several targets   classification
    ============== ================ ================= =====================
    validation     best_val_rmse    val_nrmse         val_roc_auc
    test           test_rmse        test_nrmse        test_roc_auc
    guards         test_mae         test_mae/TARGET   test_prc_auc[/TARGET]
    fit            val_r2           val_r2            val_roc_auc
    test_fit       test_r2          test_r2           test_roc_auc
    ============== ================ ================= =====================
    """
    if record.task == "classification":
        guards = _by_target("test_prc_auc", record)
        return Judged("val_roc_auc", "test_roc_auc", guards, "val_roc_auc", "test_roc_auc")
    guards = _by_target("test_mae", record)
    if len(record.targets) == 1:
        return Judged("best_val_rmse", "test_rmse", guards, "val_r2", "test_r2")
    return Judged("val_nrmse", "test_nrmse", guards, "val_r2", "test_r2")


def _by_target(name: str, record: ModelRecord) -> tuple[str, ...]:
    if len(record.targets) == 1:
        return (name,)
    return tuple(f"{name}/{target.name}" for target in record.targets if target.tested)
