"""What a predictor's folder holds, written down in its ``manifest.json``."""

from __future__ import annotations

import json
from math import isclose
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature, Transform

__all__ = [
    "FAR_BELOW",
    "FORMAT",
    "MANIFEST",
    "Configuration",
    "DataFile",
    "FileMark",
    "Manifest",
    "Member",
    "Target",
    "manifest_text",
]

MANIFEST = "manifest.json"
FORMAT: Final = 2
"""Raised, here and in `Manifest`, with every change that an older version could not read.

Format 1 knew no more of a configuration than its searched parameters.
"""

FAR_BELOW = 0.3
"""Tanimoto similarity to the nearest training molecule below which a molecule is far.

Two drug-like molecules drawn at random are seldom this similar (Morgan fingerprints of radius 2
and 2,048 bits), so below it even the nearest training molecule is no nearer than chance.
"""

# Of this package only: nothing in a manifest leads out of its own folder.
_MODEL_FILE = r"^models/[A-Za-z0-9_\-][A-Za-z0-9_.\-]*\.pt$"
_SHA256 = r"^[0-9a-f]{64}$"
_WEIGHTS_TOLERANCE = 1e-6


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, strict=True
    )


class Target(_Part):
    """One column that is predicted."""

    name: str
    unit: str = ""
    """Of the original values, for people; empty where nobody said."""
    transform: Transform = "none"
    """What the models' own scale is; undone in everything that is put out."""


class FileMark(_Part):
    """How a file is known again."""

    sha256: str = Field(pattern=_SHA256)
    bytes: int = Field(ge=0)


class Member(FileMark):
    """One model of the ensemble."""

    file: str = Field(pattern=_MODEL_FILE)
    rank: int
    trial: int
    """Number of the study's trial whose configuration it has."""
    split: int
    fold: int
    seed: int
    best_epoch: int
    """The epoch whose weights these are."""
    epochs: int
    weights: tuple[float, ...]
    """Its share in each target's prediction, in the order of the targets."""
    atom_features: AtomFeatures
    molecule_features: tuple[MoleculeFeature, ...] = ()
    fillings: dict[MoleculeFeature, str] = Field(default_factory=dict)
    """Which array of ``fillings.npz`` stands in for a feature's undefined values."""


class Configuration(_Part):
    """One of the chosen configurations, and how its models were trained."""

    rank: int
    trial: int
    params: dict[str, JsonValue]
    """What was searched."""
    hyperparameters: dict[str, JsonValue] | None = None
    """All that a training was given, searched or not."""
    metric: str | None = None
    """What tells the best epoch."""
    max_epochs: int | None = None
    git_commit: str | None = None
    """Of the code that all its models were trained on; None where that is not known."""
    dirty: bool | None = None
    """Whether a file of that code differed from the commit."""


class DataFile(_Part):
    """A file that models were trained on, or scored on."""

    sha256: str = Field(pattern=_SHA256)
    rows: int = Field(ge=0)


class Manifest(_Part):
    """The whole of a predictor, but for its models' weights."""

    format: Literal[1, 2] = FORMAT
    task: Literal["regression", "classification"]
    targets: tuple[Target, ...] = Field(min_length=1)
    smiles_col: str
    """Column of the SMILES in the training data, and in input files where nobody names another."""
    members: tuple[Member, ...] = Field(min_length=1)
    configurations: tuple[Configuration, ...]
    calibration: dict[str, dict[str, JsonValue] | None]
    """By target; None where intervals are not given, as for a classification."""
    far_below: float = Field(FAR_BELOW, ge=0, le=1)
    """Similarity to the nearest training molecule below which a molecule is marked as far."""
    data: dict[str, DataFile]
    """By the file's name."""
    test_scored: dict[str, JsonValue] | None
    """When and on what test rows were scored; None where they never were."""
    versions: dict[str, str | None]
    study: str
    created: str
    """Time in UTC, as ISO 8601."""
    files: dict[str, FileMark]
    """Every file of the folder but models and this one."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError("a target stands twice")
        if set(self.calibration) != set(names):
            raise ValueError("calibration must name each target once")
        if any(len(member.weights) != len(names) for member in self.members):
            raise ValueError("each member needs one weight for each target")
        if not all(any(member.weights) for member in self.members):
            raise ValueError("a member has no weight")
        if len({member.file for member in self.members}) < len(self.members):
            raise ValueError("a model file stands twice")
        for i, name in enumerate(names):
            self._check_weights(name, [member.weights[i] for member in self.members])
        return self

    def _check_weights(self, target: str, weights: list[float]) -> None:
        if min(weights) < 0 or not isclose(sum(weights), 1.0, abs_tol=_WEIGHTS_TOLERANCE):
            raise ValueError(f"the weights of {target!r} must be shares that sum to one")


def manifest_text(manifest: Manifest) -> str:
    """Write a manifest as JSON.

    Raises
    ------
    ValueError
        If a free part (``test_scored``, ``calibration``, ``params``) holds NaN or infinity.
    """
    values = manifest.model_dump(mode="json")
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
