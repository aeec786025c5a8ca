"""What a study is, as it is written down: its manifest, its record, and its place on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.data_files import file_fingerprints
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.tracking.manifest import build_manifest
from chemprop_hpo.storage.database import Database, open_if_ready
from chemprop_hpo.storage.studies import (
    StudyRecord,
    open_study,
    read_record,
    refuse_mismatch,
    study_exists,
)

__all__ = ["check_study", "manifest_of", "record_of", "study_folder"]


def manifest_of(config: SweepConfig) -> dict[str, Any]:
    """Return what must be known to repeat the sweep; reads every data file for its hash."""
    return build_manifest(
        seed=config.seed,
        data=file_fingerprints(config),
        threads=config.resources.cpus_per_trial,
        devices=("cuda",) if config.resources.gpus_per_trial else ("cpu",),
    )


def record_of(loaded: LoadedSweep, manifest: Mapping[str, Any], folder: Path) -> StudyRecord:
    """Return what the study says about itself."""
    config, space = loaded.config, Space.of(loaded.config).to_json()
    return StudyRecord(
        config=loaded.stored,
        metric=config.metric,
        mode=config.mode,
        space=space,
        space_hash=hashlib.sha256(json.dumps(space, sort_keys=True).encode()).hexdigest(),
        data=manifest["data"],
        git_commit=manifest["git"]["commit"],
        versions=manifest["versions"],
        seed=config.seed,
        folder=str(folder),
    )


def study_folder(config: SweepConfig, db: Database) -> Path:
    """Return where the study's files are: where the file says, or where they were put before."""
    if config.study.folder is None and study_exists(db, config.study_name):
        before = Path(read_record(open_study(db, config.study_name)).folder)
        if before.is_dir():
            return before
    return config.study_folder.absolute()


def check_study(loaded: LoadedSweep, manifest: Mapping[str, Any]) -> str:
    """Check that the study can be created or gone on with, make nothing, and say which.

    Raises
    ------
    StorageError
        If the database cannot be reached or used.
    StudyMismatchError
        If the study holds other data, another metric or choices that cannot change.
    """
    config = loaded.config
    db = open_if_ready(config.study.storage)
    if db is None:
        return "would be created in a new database"
    with db:
        if not study_exists(db, config.study_name):
            return "would be created"
        refuse_mismatch(db, config.study_name, record_of(loaded, manifest, Path()))
        return "exists and would go on"
