"""What is known of a model when it is decided upon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chemprop_hpo.configs.schema import Transform

__all__ = ["JudgedTarget", "ModelRecord", "Provenance"]


@dataclass(frozen=True)
class Provenance:
    """What must be known to train a model again; None is what nobody wrote down.

    Attributes
    ----------
    seed : int or None
        Of the training.
    hyperparameters : mapping or None
        By name.
    git_commit : str or None
        Of the code and configuration that it was trained with.
    dirty : bool or None
        Whether tracked files differed from that commit.
    dataset : str or None
        sha256 of the data that it was trained on.
    """

    seed: int | None = None
    hyperparameters: Mapping[str, Any] | None = None
    git_commit: str | None = None
    dirty: bool | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class JudgedTarget:
    """A column that a model predicts, as far as its figures depend on it.

    Attributes
    ----------
    name : str
    transform : {"none", "log10", "log10p1"}
    label_std : float or None
        Standard deviation of the training labels. In original units if the model has only this
        target; in transformed units, those of the NRMSE, if it has several. A classification
        needs none.
    tested : bool
        Whether the test set has the labels that define this target's figures. A target that
        the test set does not hold is judged by nobody, and blocks nothing.
    """

    name: str
    transform: Transform = "none"
    label_std: float | None = None
    tested: bool = True


@dataclass(frozen=True)
class ModelRecord:
    """A model, or an ensemble of models, with its figures.

    Attributes
    ----------
    version : str
        Its version in the registry, or what else it is called in messages.
    kind : {"model", "ensemble"}
    task : {"regression", "classification"}
    targets : tuple of JudgedTarget
    metrics : mapping of str to float
        Under the names of `chemprop_hpo.hpo.chemistry.training.metrics.score`, and
        ``best_val_rmse``. The ``val_`` figures of an ensemble are those of its out-of-fold
        predictions, its gap the mean of its members' gaps.
    completed : bool
        Whether the training came to its own end.
    provenance : Provenance
    test_set : str or None
        sha256 of the test rows behind the ``test_`` figures.
    """

    version: str
    kind: Literal["model", "ensemble"]
    task: Literal["regression", "classification"]
    targets: tuple[JudgedTarget, ...]
    metrics: Mapping[str, float]
    completed: bool
    provenance: Provenance
    test_set: str | None = None

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError(f"the record of {self.version} has no target")
