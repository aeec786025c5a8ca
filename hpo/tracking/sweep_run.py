"""What the run of a sweep itself says: its configuration, its space, and what it was made with."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.tracking.runs import TAG, flat
from chemprop_hpo.storage.records import StudyRecord

__all__ = ["SweepRun", "describe_sweep", "manifest_in"]


@dataclass(frozen=True)
class SweepRun:
    """A sweep's own run.

    Attributes
    ----------
    name : str
    study : str
    created : str
        When the study was created, to the microsecond. With the name it tells the study from all
        others, wherever its database is reached: a URL has many spellings.
    params, tags : mapping
    files : mapping of str to str
        Texts by the names of their artifacts.
    """

    name: str
    study: str
    created: str
    params: Mapping[str, Any]
    tags: Mapping[str, Any]
    files: Mapping[str, str]

    @property
    def key(self) -> str:
        """What tells the study from all others; only letters and digits."""
        return hashlib.sha256(f"{self.study}\n{self.created}".encode()).hexdigest()[:32]


def describe_sweep(
    config: MlflowConfig,
    study: str,
    stored: Mapping[str, Any],
    manifest: Mapping[str, Any],
    space: Mapping[str, Any] | list[Any],
    created: str,
) -> SweepRun:
    """Put together what a sweep's run says.

    Parameters
    ----------
    config : MlflowConfig
    study : str
        Its name.
    stored : mapping
        The resolved configuration with its secrets masked.
    manifest : mapping
        From `build_manifest`, or what a study's record has of it. Each entry becomes a tag.
    space : mapping or list
        Ready for JSON.
    created : str
        When the study was created.
    """
    name = config.run_name or study
    tags = _tags(study, manifest) | {f"{TAG}.created": created}
    return SweepRun(name, study, created, flat(stored), tags, _files(stored, manifest, space))


def manifest_in(record: StudyRecord, written: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the manifest that a study holds, or as much of it as its record has.

    Parameters
    ----------
    record : StudyRecord
    written : mapping or None
        The manifest that the study's first driver wrote, if it did.
    """
    own = {
        "git": {"commit": record.git_commit},
        "versions": dict(record.versions),
        "seed": record.seed,
        "data": {name: dict(entry) for name, entry in record.data.items()},
    }
    return {**own, **(written or {})}


def _files(
    stored: Mapping[str, Any], manifest: Mapping[str, Any], space: Mapping[str, Any] | list[Any]
) -> dict[str, str]:
    return {
        "config.yaml": yaml.safe_dump(dict(stored), sort_keys=False, allow_unicode=True),
        "manifest.json": json.dumps(manifest, indent=2, default=str),
        "space.json": json.dumps(space, indent=2, default=str),
    }


def _tags(study: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    entries = flat(manifest)
    return {f"{TAG}.{name}": value for name, value in entries.items()} | {
        f"{TAG}.study": study,
        "mlflow.user": _user(),
        "mlflow.source.name": "chemprop-hpo",
        "mlflow.source.git.commit": entries.get("git.commit"),
    }


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without an entry in passwd
        return None
