"""Everything that a report on ensembles shows, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import Transform
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.searched.content import Search

__all__ = [
    "Combination",
    "Coverage",
    "Decision",
    "Ensemble",
    "EnsembleTarget",
    "FoldFigures",
    "Judged",
    "Member",
    "ReportContent",
    "Target",
]

Float64 = NDArray[np.float64]

Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class Target:
    """A column that is predicted; ``unit`` is empty where none is known."""

    name: str
    unit: str = ""
    transform: Transform = "none"


@dataclass(frozen=True)
class Decision:
    """Why a trial was taken as a rank, or passed over (``rank`` is then None)."""

    rank: int | None
    trial: int
    value: float
    taken: bool
    reason: str


@dataclass(frozen=True)
class Member:
    """One trained model of a rank.

    Attributes
    ----------
    epochs : int
        Epochs that it trained.
    best_epoch : int or None
        Counted from 1.
    value : float or None
        The study's metric at the best epoch, on the member's own validation fold.
    curve : tuple of float
        The study's metric after each epoch, NaN where it was not defined.
    error : str or None
        Why there is no model.
    """

    rank: int
    trial: int
    split: int
    fold: int
    seed: int
    epochs: int
    best_epoch: int | None
    value: float | None
    stop_reason: str
    curve: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Coverage:
    """How many of ``n`` labels lay inside their intervals, as a share."""

    share: float
    n: int


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions of one target held against its labels.

    All arrays have the shape (n,): the rows that have both a label and a prediction. They are
    in transformed units; those of a classification are labels 0 and 1 and probabilities of 1.

    Attributes
    ----------
    labels, mean : array
    std : array
        Standard deviation over the members, NaN where there is only one.
    figures : mapping of str to Interval
        By the names of ``evaluation.figures``, in original units.
    transformed_figures : mapping of str to Interval, or None
        The same in transformed units; None where the target has no transform.
    half_widths : mapping of int to array
        Half the width of the prediction interval, by level in percent. A level that could not
        be calibrated is absent.
    coverage : mapping of int to Coverage
        The share of labels inside, by level in percent.
    similarity : array or None
        Tanimoto similarity to the nearest molecule that any of the models was trained on; NaN
        where it was not computed.
    folds : int array or None
        The fold that left each row out; None on test data, and where several splits did.
    molecules : array or None
        A number for each row, equal for rows of one molecule. None where each is its own.
    """

    labels: Float64
    mean: Float64
    std: Float64
    figures: Mapping[str, Interval]
    transformed_figures: Mapping[str, Interval] | None = None
    half_widths: Mapping[int, Float64] = field(default_factory=dict)
    coverage: Mapping[int, Coverage] = field(default_factory=dict)
    similarity: Float64 | None = None
    folds: NDArray[np.int64] | None = None
    molecules: NDArray[np.int64] | None = None

    @property
    def n(self) -> int:
        """How many rows were judged."""
        return len(self.labels)


@dataclass(frozen=True)
class FoldFigures:
    """Figures of the ``n`` labelled rows of one validation fold.

    In transformed units where the target has a transform, else in original units.
    """

    split: int
    fold: int
    n: int
    figures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class EnsembleTarget:
    """What an ensemble gives for one target; a part that was not judged is None."""

    out_of_fold: Judged | None = None
    test: Judged | None = None
    by_fold: tuple[FoldFigures, ...] = ()


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One of the things that are compared: the single best model, a rank, or the combination.

    Attributes
    ----------
    name : str
        As it stands in tables, such as ``single best`` or ``rank 1``.
    targets : tuple of EnsembleTarget
        In the order of the report's targets.
    macro_out_of_fold, macro_test : Interval or None
        The mean over targets of RAE (regression, in transformed units) or ROC-AUC
        (classification); None for a single target, or where it is not known.
    """

    name: str
    targets: tuple[EnsembleTarget, ...]
    macro_out_of_fold: Interval | None = None
    macro_test: Interval | None = None


@dataclass(frozen=True)
class Combination:
    """How the units, each a rank and a split, are weighted for one target.

    Attributes
    ----------
    units : tuple of str
        Their names, such as ``rank 1, split 0``.
    weights : tuple of float
        What is used; their sum is one.
    gain : Interval or None
        Out-of-fold gain of greedy selection over the plain mean (positive: greedy is better).
    used : str
    """

    units: tuple[str, ...]
    weights: tuple[float, ...]
    gain: Interval | None
    used: Literal["mean", "greedy"]


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report says.

    Attributes
    ----------
    storage : str
        The database, its password masked.
    metric, mode : str
        What the study optimised, and whether ``min`` or ``max`` is better.
    notes, warnings : tuple of str
        Sentences for people. Warnings stand at the top of the page; those that follow from the
        rest of the content, such as failed members, are added by the report.
    configurations : mapping of int to mapping
        The parameters of each rank.
    ensembles : tuple of Ensemble
        As they are to be compared: the single best first, the combination last. The last one
        is the one that the pictures show.
    combinations : tuple of Combination
        One for each target, or empty where nothing was combined.
    search : Search or None
        What the study searched and found; None leaves its section out.
    """

    title: str
    study: str
    storage: str
    metric: str
    mode: Literal["min", "max"]
    task: Task
    created: datetime
    targets: tuple[Target, ...]
    ensembles: tuple[Ensemble, ...]
    members: tuple[Member, ...] = ()
    decisions: tuple[Decision, ...] = ()
    configurations: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    combinations: tuple[Combination, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str | None] = field(default_factory=dict)
    search: Search | None = None

    @property
    def has_test(self) -> bool:
        """Whether any ensemble was judged on test data."""
        return any(t.test is not None for e in self.ensembles for t in e.targets)
