"""Write a predictor's folder, all of it or nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.schema import ModelConfig, MoleculeFeature
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.evaluation.calibration import Calibration
from chemprop_hpo.hpo.predictor.manifest import (
    FAR_BELOW,
    MANIFEST,
    Configuration,
    DataFile,
    FileMark,
    Manifest,
    Member,
    Target,
    manifest_text,
)

__all__ = [
    "FILLINGS",
    "TRAINING",
    "MemberContent",
    "PredictorContent",
    "mark_of",
    "write_predictor",
]

FILLINGS = "fillings.npz"
TRAINING = "training.csv.gz"

_KEY_LENGTH = 16


@dataclass(frozen=True, eq=False)
class MemberContent:
    """A trained model that is to be a member.

    Attributes
    ----------
    model_file : Path
        In Chemprop's own format; it is linked or copied, never changed.
    model : ModelConfig
        What it was trained as; names its atom and molecule features.
    fillings : mapping
        Of the fold that it was trained on: ``Fold.fillings``.
    rank, trial, split, fold, seed, best_epoch, epochs : int
    weights : sequence of float
        Its share in each target's prediction; one that has none at all is left out.
    """

    model_file: Path
    model: ModelConfig
    fillings: Mapping[MoleculeFeature, Filling]
    rank: int
    trial: int
    split: int
    fold: int
    seed: int
    best_epoch: int
    epochs: int
    weights: Sequence[float]

    @property
    def own_fillings(self) -> dict[MoleculeFeature, Filling]:
        """The fillings of the features that the model takes, in its order."""
        return {name: self.fillings[name] for name in self.model.molecule_feature_names}


@dataclass(frozen=True, eq=False)
class PredictorContent:
    """All that a predictor is made of.

    Attributes
    ----------
    task : str
        ``regression`` or ``classification``.
    targets : sequence of Target
    smiles_col : str
    members : sequence of MemberContent
    configurations : sequence of Configuration
        Those without a member are left out.
    calibrations : mapping
        A Calibration, or None for no intervals, by target; a target left out has None.
    training_smiles : iterable of str
        SMILES of all molecules that any member was trained on; equal ones are kept once.
    data : mapping
        The files behind it, by name; test files as well.
    versions : mapping
        Of Python and the packages.
    study : str
        Name of the study.
    test_scored : mapping, optional
        When and on what test rows were scored; finite numbers only.
    far_below : float
        Similarity to the nearest training molecule below which a molecule is far.
    """

    task: Literal["regression", "classification"]
    targets: Sequence[Target]
    smiles_col: str
    members: Sequence[MemberContent]
    configurations: Sequence[Configuration]
    calibrations: Mapping[str, Calibration | None]
    training_smiles: Iterable[str]
    data: Mapping[str, DataFile]
    versions: Mapping[str, str | None]
    study: str
    test_scored: Mapping[str, Any] | None = None
    far_below: float = FAR_BELOW


def write_predictor(folder: Path, content: PredictorContent, *, replace: bool = False) -> Manifest:
    """Write a predictor that ``load_ensemble`` reads.

    Predictors with the same members, as of a rank and of all ranks together, share the model
    files on the disk where it knows hard links.

    Until everything is there, the folder has another name beside its own, which a kill leaves
    behind: ``.<name>.<random>.tmp``.

    Parameters
    ----------
    folder : Path
        Its parent is made where it is missing.
    content : PredictorContent
    replace : bool
        Whether a predictor that stands there gives way. Anything else never does.

    Returns
    -------
    Manifest
        As written.

    Raises
    ------
    UsageError
        If something stands there that must not be replaced, or it cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    _require_room(folder, replace=replace)
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        manifest = _fill(temporary, content)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({_cause(error)})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def mark_of(path: Path) -> FileMark:
    """Return size and sha256 of a file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileMark(sha256=digest.hexdigest(), bytes=path.stat().st_size)


def _require_room(folder: Path, *, replace: bool) -> None:
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder}: holds something else than a predictor; choose another folder")
    if not replace:
        raise UsageError(f"{folder}: there is a predictor already; choose another folder")


def _cause(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _fill(folder: Path, content: PredictorContent) -> Manifest:
    (folder / "models").mkdir()
    fillings: dict[str, NDArray[np.float32]] = {}
    counting = [member for member in content.members if any(member.weights)]
    members = [_add_member(folder, member, fillings) for member in counting]
    _write(folder / FILLINGS, _npz(fillings))
    _write(folder / TRAINING, _training(content.training_smiles))
    files = {name: mark_of(folder / name) for name in (FILLINGS, TRAINING)}
    manifest = _manifest(content, members, files)
    # Last: a folder without it is no predictor.
    _write(folder / MANIFEST, manifest_text(manifest).encode())
    return manifest


def _manifest(
    content: PredictorContent, members: Sequence[Member], files: Mapping[str, FileMark]
) -> Manifest:
    ranks = {member.rank for member in members}
    return Manifest(
        task=content.task,
        targets=tuple(content.targets),
        smiles_col=content.smiles_col,
        members=tuple(members),
        configurations=tuple(c for c in content.configurations if c.rank in ranks),
        calibration={t.name: _json(content.calibrations.get(t.name)) for t in content.targets},
        far_below=content.far_below,
        data=dict(content.data),
        test_scored=None if content.test_scored is None else dict(content.test_scored),
        versions=dict(content.versions),
        study=content.study,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=dict(files),
    )


def _json(calibration: Calibration | None) -> dict[str, Any] | None:
    return None if calibration is None else calibration.to_json()


def _add_member(
    folder: Path, member: MemberContent, fillings: dict[str, NDArray[np.float32]]
) -> Member:
    name = f"models/rank_{member.rank}_split_{member.split}_fold_{member.fold}.pt"
    _link(member.model_file, folder / name)
    keys = {}
    for feature, filling in member.own_fillings.items():
        keys[feature] = _key(feature, filling.means)
        fillings[keys[feature]] = filling.means
    return Member(
        file=name,
        **mark_of(folder / name).model_dump(),
        rank=member.rank,
        trial=member.trial,
        split=member.split,
        fold=member.fold,
        seed=member.seed,
        best_epoch=member.best_epoch,
        epochs=member.epochs,
        weights=tuple(float(weight) for weight in member.weights),
        atom_features=member.model.atom_features,
        molecule_features=member.model.molecule_feature_names,
        fillings=keys,
    )


def _key(feature: str, means: NDArray[np.float32]) -> str:
    # By content: members of one fold share theirs.
    return f"{feature}-{hashlib.sha256(means.tobytes()).hexdigest()[:_KEY_LENGTH]}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def _npz(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _training(smiles: Iterable[str]) -> bytes:
    lines = "\n".join(["smiles", *sorted(set(smiles))]) + "\n"
    return gzip.compress(lines.encode(), mtime=0)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(temporary: Path, folder: Path) -> None:
    if not (folder / MANIFEST).exists():
        temporary.rename(folder)  # also onto an empty folder
        return
    # A folder that is not empty cannot be renamed over: for a moment there is none.
    old = temporary.with_suffix(".old")
    folder.rename(old)
    try:
        temporary.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
