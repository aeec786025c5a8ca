"""Read a predictor's folder; nothing in it is trusted before its checksum is right."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from chemprop.models import MPNN
from numpy.typing import NDArray
from pydantic import ValidationError
from rdkit.DataStructs import ExplicitBitVect

from chemprop_hpo.configs.errors import DataError, ResourceError
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.chemistry.models.checkpoints import CheckpointError
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import load_model
from chemprop_hpo.hpo.chemistry.tables.molecules import read_molecules
from chemprop_hpo.hpo.evaluation.calibration import Calibration
from chemprop_hpo.hpo.predictor.errors import PredictorError
from chemprop_hpo.hpo.predictor.manifest import FORMAT, MANIFEST, FileMark, Manifest, Member
from chemprop_hpo.hpo.predictor.member_models import MemberModel
from chemprop_hpo.hpo.predictor.panel import Panel
from chemprop_hpo.hpo.predictor.predicting import Ensemble
from chemprop_hpo.hpo.predictor.similarity import fingerprint
from chemprop_hpo.hpo.predictor.writing import FILLINGS, TRAINING, mark_of

__all__ = ["load_ensemble", "load_manifest"]

COMBINED = "combined"

Fillings = Mapping[str, NDArray[np.float32]]


def load_ensemble(folder: Path | str, device: str = "cpu") -> Ensemble:
    """Load a predictor, ready to predict.

    Every file is compared with its sha256 in the manifest before any is opened, since opening
    a model runs code that its file names. That finds damage and mix-ups; it is no protection
    against someone who rewrites the manifest too: load only predictors that you trust.

    Parameters
    ----------
    folder : Path or str
        One predictor, or the folder of several, of which ``combined/`` is taken.
    device : str
        ``cpu`` or ``cuda``.

    Raises
    ------
    PredictorError
        If it is no predictor, or a file is missing, changed, or of a newer version.
    ResourceError
        If ``device`` is ``cuda`` and there is none.

    Examples
    --------
    >>> ensemble = load_ensemble("ensembles/combined")  # doctest: +SKIP
    >>> ensemble.predict(["CCO", "c1ccccc1"])  # doctest: +SKIP
    """
    _require_device(device)
    folder = _predictor_folder(Path(folder))
    manifest = load_manifest(folder)
    _check_files(folder, manifest)
    fillings = _read_fillings(folder / FILLINGS)
    models = [_member_model(folder, member, fillings, device) for member in manifest.members]
    calibrations = [_calibration(folder, manifest, target.name) for target in manifest.targets]
    return Ensemble(
        folder, manifest, Panel(models), calibrations, _read_training(folder / TRAINING)
    )


def load_manifest(folder: Path) -> Manifest:
    """Read what a predictor says of itself; its other files are not looked at.

    Raises
    ------
    PredictorError
        If there is none, it is damaged, or a newer version wrote it.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise PredictorError(_no_predictor(folder)) from None
    except OSError as error:
        raise PredictorError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PredictorError(f"{path}: is damaged ({error}); write the predictor anew") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise PredictorError(f"{path}: {_first_problem(error)}") from error


def _predictor_folder(folder: Path) -> Path:
    inner = folder / COMBINED
    return inner if not (folder / MANIFEST).exists() and (inner / MANIFEST).exists() else folder


def _no_predictor(folder: Path) -> str:
    if folder.is_file():
        return f"{folder}: is a file; name the folder of a predictor"
    if not folder.is_dir():
        return f"{folder}: there is no such folder; make one with: chemprop-hpo ensembles"
    # A name with a dot is that of a folder whose writing was ended half-way.
    inside = sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}"))
    advice = f"; there is one in {', '.join(inside)}" if inside else ""
    return f"{folder}: is no predictor, since it has no {MANIFEST}{advice}"


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["loc"] == ("format",) and first["type"] == "literal_error":
        return (
            f"is of format {first['input']!r}, and this version of chemprop-hpo reads "
            f"format {FORMAT}; use the version that wrote it, or a newer one"
        )
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"is damaged ({where + ': ' if where else ''}{what}); write the predictor anew"


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name in (FILLINGS, TRAINING):
        if name not in manifest.files:
            raise PredictorError(f"{folder / MANIFEST}: is damaged ({name} is not in it)")
    for member in manifest.members:
        _check_file(folder / member.file, member)
    for name in (FILLINGS, TRAINING):
        _check_file(folder / name, manifest.files[name])


def _check_file(path: Path, expected: FileMark) -> None:
    try:
        found = mark_of(path)
    except FileNotFoundError:
        raise PredictorError(
            f"{path}: the file is missing; copy the whole folder again, or write it anew"
        ) from None
    except OSError as error:
        raise PredictorError(f"{path}: cannot be read ({error.strerror})") from error
    if found.bytes != expected.bytes or found.sha256 != expected.sha256:
        raise PredictorError(
            f"{path}: the file is not the one that the predictor was made with "
            f"({_difference(found, expected)}); copy the whole folder again, or write it anew"
        )


def _difference(found: FileMark, expected: FileMark) -> str:
    if found.bytes != expected.bytes:
        return f"{found.bytes:,} bytes where {expected.bytes:,} were written"
    return "its sha256 differs"


def _member_model(folder: Path, member: Member, fillings: Fillings, device: str) -> MemberModel:
    try:
        own = {n: Filling(fillings[member.fillings[n]]) for n in member.molecule_features}
    except KeyError as error:
        raise PredictorError(
            f"{folder / MANIFEST}: is damaged ({member.file} has no filling {error}); "
            "write the predictor anew"
        ) from error
    return MemberModel(_model(folder / member.file, device), member.atom_features, own)


def _model(path: Path, device: str) -> MPNN:
    try:
        return quicken(load_model(path)).to(device)
    except CheckpointError as error:
        raise PredictorError(str(error)) from error
    except (AttributeError, ImportError, TypeError, ValueError, UnpicklingError) as error:
        raise PredictorError(
            f"{path}: the installed packages cannot read this model ({error}); "
            f"{MANIFEST} names the versions that wrote it"
        ) from error


def _calibration(folder: Path, manifest: Manifest, target: str) -> Calibration | None:
    values = manifest.calibration[target]
    try:
        return None if values is None else Calibration.from_json(values)
    except DataError as error:
        raise PredictorError(f"{folder / MANIFEST}: is damaged ({target}: {error})") from error


def _read_fillings(path: Path) -> Fillings:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_training(path: Path) -> list[ExplicitBitVect]:
    smiles = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    return [fingerprint(molecule) for molecule in read_molecules(smiles) if molecule is not None]


def _require_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ResourceError(f"device: must be cpu or cuda, not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "device: cuda was asked for, but torch finds no GPU here; predict on the cpu instead"
        )
