"""What a study says about itself: its configuration, data, space and origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import optuna

from chemprop_hpo.configs.errors import UnknownStudyError
from chemprop_hpo.configs.secrets import mask_mapping

__all__ = ["RECORD_VERSION", "StudyRecord", "read_record", "record_of", "write_record"]

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
    """
    record = record_of(study.user_attrs)
    if record is None:
        raise UnknownStudyError(
            f"study '{study.study_name}' was made by another program and says nothing about its "
            "data or configuration; choose another with --study"
        )
    return record


def record_of(attributes: Mapping[str, Any]) -> StudyRecord | None:
    """Return the record that a study's user attributes hold, or None if they hold none."""
    names = [f.name for f in fields(StudyRecord)]
    if any(name not in attributes for name in names):
        return None
    return StudyRecord(**{name: attributes[name] for name in names})


def write_record(study: optuna.Study, record: StudyRecord) -> None:
    """Write a record into the study's user attributes, touching only what changed."""
    stored = study.user_attrs
    for name, value in _as_json(record).items():
        if name not in stored or stored[name] != value:
            study.set_user_attr(name, value)


def _as_json(record: StudyRecord) -> dict[str, Any]:
    plain = json.loads(json.dumps(asdict(record), ensure_ascii=False))
    return mask_mapping(plain)
