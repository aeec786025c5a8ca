"""Compare candidate and champion on the test rows that both were scored on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chemprop_hpo.hpo.chemistry.tables.problems import counted
from chemprop_hpo.hpo.evaluation.paired import PairedGain, paired_probability
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord
from chemprop_hpo.hpo.promotion.registered.registry import Registry, Version
from chemprop_hpo.hpo.promotion.registered.test_rows import (
    SAID,
    SaidOfTestRows,
    read_said,
    same_rows,
)

__all__ = ["Paired", "gain_over"]


@dataclass(frozen=True)
class Paired:
    """What a paired comparison says, or why there is none.

    Attributes
    ----------
    gain : PairedGain or None
    note : str
        Why the probability is not known, or what it leaves out; empty where there is nothing
        to tell.
    """

    gain: PairedGain | None
    note: str = ""

    @property
    def probability(self) -> float | None:
        """That the candidate is better; None where it is not known."""
        known = self.gain is not None and not math.isnan(self.gain.probability)
        return self.gain.probability if self.gain is not None and known else None


def gain_over(
    registry: Registry,
    candidate: tuple[Version, ModelRecord],
    champion: tuple[Version, ModelRecord],
) -> Paired:
    """Return how probable it is that the candidate is better on molecules like the test rows.

    Targets without test labels do not count. A row counts for a target where both models
    predict it.

    Raises
    ------
    DataError
        If what was said of the test rows is damaged.
    TrackingError
        If it cannot be fetched.
    """
    record = champion[1]
    if not _are_alike(candidate[1], record):
        return Paired(None, "task, targets or test set are not the champion's")
    said = []
    for version, _ in (candidate, champion):
        found = _said(registry, version, record)
        if found is None:
            return Paired(None, f"what version {version.number} said of its test rows is not kept")
        said.append(found)
    pair = same_rows(said[0], said[1])
    if pair is None:
        return Paired(None, "the kept test rows of the two are not the same")
    return _compared(*pair, record)


def _compared(ours: SaidOfTestRows, theirs: SaidOfTestRows, record: ModelRecord) -> Paired:
    tested = [t for t, target in enumerate(record.targets) if target.tested]
    targets = [record.targets[t] for t in tested]
    scaled = record.task == "regression" and len(record.targets) > 1
    if scaled and (lack := _lack_of_scales(targets)):
        return Paired(None, lack)
    gain = paired_probability(
        ours.means[:, tested],
        theirs.means[:, tested],
        ours.labels[:, tested],
        "roc_auc" if record.task == "classification" else "rmse",
        molecules=ours.canonical,
        scales=np.array([t.label_std for t in targets], np.float64) if scaled else None,
    )
    return Paired(gain, _note(ours, theirs, tested, gain))


def _lack_of_scales(targets: Iterable[JudgedTarget]) -> str:
    for target in targets:
        std = target.label_std
        if std is None or not math.isfinite(std) or std <= 0:
            return f"the standard deviation of the training labels of {target.name} is not logged"
    return ""


def _note(ours: SaidOfTestRows, theirs: SaidOfTestRows, tested: list[int], gain: PairedGain) -> str:
    labelled = np.isfinite(ours.labels[:, tested])
    predicted = np.isfinite(ours.means[:, tested]) & np.isfinite(theirs.means[:, tested])
    lost = int((labelled & ~predicted).any(axis=1).sum())
    rows = counted(lost, "test row")
    notes = [f"{rows} left out, where one of the two predicts no finite number"] if lost else []
    if math.isnan(gain.probability):
        notes.append("the test labels that both predict define no figure")
    return "; ".join(notes)


def _are_alike(one: ModelRecord, other: ModelRecord) -> bool:
    same_rows_were_scored = one.test_set is not None and one.test_set == other.test_set
    return one.task == other.task and same_rows_were_scored and _targets(one) == _targets(other)


def _targets(record: ModelRecord) -> list[tuple[str, str]]:
    """Return names and transforms; a single target is compared in original units."""
    alone = len(record.targets) == 1
    return sorted((t.name, "none" if alone else t.transform) for t in record.targets)


def _said(registry: Registry, version: Version, record: ModelRecord) -> SaidOfTestRows | None:
    with registry.artifact(version, SAID) as path:
        return None if path is None else read_said(path, record.targets)
