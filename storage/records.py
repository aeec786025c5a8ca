"""What a study says about itself: its configuration, data, space and origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import optuna

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError
from chemprop_hpo.configs.secrets import mask_mapping
from chemprop_hpo.storage.database import Database

__all__ = [
    "RECORD_VERSION",
    "StudyRecord",
    "as_stored",
    "is_newer",
    "read_record",
    "record_of",
    "write_record",
]

RECORD_VERSION = 1
"""Raised when a field of `StudyRecord` changes its meaning."""


@dataclass(frozen=True)
class StudyRecord:
    """All that is needed to resume a study, apart from the data files themselves.

    Every value can be written as JSON; no value holds a password.
    """

    config: Mapping[str, Any]
    """The configuration as `LoadedSweep.stored` has it: complete, secrets left out."""
    metric: str
    mode: str
    """``min`` or ``max``."""
    space: Mapping[str, Any]
    """Each parameter by name, as in the file."""
    space_hash: str
    data: Mapping[str, Mapping[str, Any]]
    """``sha256`` and ``rows`` of each data file."""
    seed: int
    folder: str
    """Where checkpoints and results lie."""
    git_commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = RECORD_VERSION

    def __repr__(self) -> str:
        return f"StudyRecord(metric={self.metric!r}, mode={self.mode!r}, folder={self.folder!r})"


def read_record(study: optuna.Study) -> StudyRecord:
    """Return the record of a study.

    Raises
    ------
    UnknownStudyError
        The study was made by another program.
    StorageError
        It was written by a newer version of this one.
    """
    record = record_of(study)
    if record is None:
        raise UnknownStudyError(
            f"study '{study.study_name}' was made by another program and says nothing about its "
            "data or configuration; choose another with --study"
        )
    return record


def record_of(study: optuna.Study) -> StudyRecord | None:
    """Return the record that a study holds, or None if it holds none.

    Raises
    ------
    StorageError
        A newer version of this program wrote it.
    """
    attributes = study.user_attrs
    if is_newer(attributes):
        raise StorageError(
            f"study '{study.study_name}' was written by a newer chemprop-hpo (record "
            f"{attributes['schema_version']}, known up to {RECORD_VERSION}); upgrade with: "
            "pip install -U chemprop-hpo"
        )
    names = [f.name for f in fields(StudyRecord)]
    if any(name not in attributes for name in names):
        return None
    return StudyRecord(**{name: attributes[name] for name in names})


def is_newer(attributes: Mapping[str, Any]) -> bool:
    """Whether a study's user attributes were written by a newer version of this program."""
    version = attributes.get("schema_version")
    return isinstance(version, int) and version > RECORD_VERSION


def as_stored(record: StudyRecord) -> StudyRecord:
    """Return a record as it comes back from a study: plain JSON, and without passwords."""
    return StudyRecord(**_as_json(record))


def write_record(db: Database, study: optuna.Study, record: StudyRecord, **attributes: Any) -> None:
    """Write a record into the study's user attributes, with others: all or nothing."""
    stored, values = study.user_attrs, {**_as_json(record), **attributes}
    changed = {k: value for k, value in values.items() if k not in stored or stored[k] != value}
    db.storage.write_study_user_attrs(db.study_id(study), changed)


def _as_json(record: StudyRecord) -> dict[str, Any]:
    plain = json.loads(json.dumps(asdict(record), ensure_ascii=False))
    return mask_mapping(plain)
