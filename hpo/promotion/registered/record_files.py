"""Read and write what is known of a model that is decided upon."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.predictor.manifest import MANIFEST
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord, Provenance

__all__ = [
    "RECORD",
    "RECORDS",
    "from_json",
    "mark_of",
    "predictor_hash",
    "read_record",
    "weights_of",
]

RECORDS = "records.json"
"""Beside the predictors' folders that ``chemprop-hpo ensembles`` writes."""

RECORD = "record.json"
"""Of one registered model, an artifact of its run."""

_KEYS = ("seed", "hyperparameters", "git_commit", "dirty", "dataset")
_AGAIN = "write it anew with: chemprop-hpo ensembles"


def read_record(predictor: Path) -> dict[str, Any]:
    """Return the record of a predictor's folder, as JSON holds it.

    Raises
    ------
    PredictorError
        If the folder is no predictor.
    DataError
        If there is no record of it, or the record is that of another predictor.
    """
    load_manifest(predictor)
    path = predictor.parent / RECORDS
    try:
        record = dict(json.loads(path.read_text(encoding="utf-8"))[predictor.name])
        manifest, _ = record["manifest"], record["said"]
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such file, which tells the figures; {_AGAIN}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: tells nothing of {predictor.name} ({error!r}); {_AGAIN}"
        ) from error
    if manifest != predictor_hash(predictor):
        raise DataError(f"{path}: is of another predictor than {predictor}; {_AGAIN}")
    known = from_json(record, str(predictor)).provenance
    if not isinstance(known.hyperparameters, Mapping | None):
        raise DataError(f"{path}: the hyperparameters of {predictor.name} have no names; {_AGAIN}")
    return record


def predictor_hash(predictor: Path) -> str:
    """Return what tells a predictor from any other: its manifest has the sha256 of all files."""
    return hashlib.sha256((predictor / MANIFEST).read_bytes()).hexdigest()


def mark_of(predictor: Path, record: Mapping[str, Any]) -> str:
    """Return what tells a model from any other: its weights, and where it comes from.

    Written anew out of the same models it is the same; trained on code that was committed
    meanwhile, it is another.
    """
    members = [[one.sha256, list(one.weights)] for one in load_manifest(predictor).members]
    known = [members, record["provenance"], record["test_set"]]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def weights_of(predictor: Path) -> str:
    """Return what tells a predictor's models from any others, wherever they come from."""
    models = sorted(member.sha256 for member in load_manifest(predictor).members)
    return hashlib.sha256("\n".join(models).encode()).hexdigest()


def from_json(values: Mapping[str, Any], version: str) -> ModelRecord:
    """Return a record out of what JSON holds.

    Parameters
    ----------
    values : mapping
    version : str
        What the model is called in messages.

    Raises
    ------
    DataError
        If it is no record.
    """
    try:
        origin = values["provenance"]
        return ModelRecord(
            version=version,
            kind=values["kind"],
            task=values["task"],
            targets=tuple(JudgedTarget(**target) for target in values["targets"]),
            metrics={str(name): float(value) for name, value in values["metrics"].items()},
            completed=bool(values["completed"]),
            provenance=Provenance(**{key: origin.get(key) for key in _KEYS}),
            test_set=values["test_set"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the record of {version} is damaged ({error!r}); register anew") from error
