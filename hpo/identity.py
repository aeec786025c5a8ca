"""What a study is, as it is written down: its manifest, its record, and its place on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemprop_hpo.configs.changes import refused_changes
from chemprop_hpo.configs.errors import StudyMismatchError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data_files import data_files, file_fingerprints
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

if TYPE_CHECKING:  # RDKit takes a second to import, and nothing here needs it
    from chemprop_hpo.hpo.chemistry.tables.data import FoldTables

__all__ = ["check_study", "manifest_of", "record_of", "study_folder"]

log = logging.getLogger(__name__)


def manifest_of(config: SweepConfig, tables: FoldTables | None = None) -> dict[str, Any]:
    """Return what must be known to repeat the sweep; reads every data file for its hash.

    Parameters
    ----------
    config : SweepConfig
    tables : FoldTables, optional
        The sweep's own fold. Where it is cut out of one file, the manifest says which rows went
        where, so that a machine that would cut otherwise is told from this one.
    """
    return build_manifest(
        seed=config.seed,
        data=_data_of(config, tables),
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
    """Return where the study's files are: where they were put before, or where the file says."""
    here = config.study_folder.absolute()
    if not study_exists(db, config.study_name):
        return here
    study = open_study(db, config.study_name)
    record = read_record(study)
    before = Path(record.folder)
    if os.path.isdir(before) and _place_in(record.config, config) == config.study_folder:
        return before
    if before != here and not os.path.isdir(here) and study.get_trials(deepcopy=False):
        log.warning(
            "the study's files are not taken from %s but begun anew in %s: trials that were "
            "running begin from scratch; if they were moved, stop and give study.folder=PATH",
            before,
            here,
        )
    return here


def check_study(
    loaded: LoadedSweep, manifest: Mapping[str, Any], *, accept_changed_data: bool = False
) -> str:
    """Check that the study can be created or gone on with, make nothing, and say which.

    Parameters
    ----------
    loaded : LoadedSweep
        The configuration.
    manifest : Mapping
        From `manifest_of`.
    accept_changed_data : bool
        Go on where data files are others than the study's.

    Raises
    ------
    StorageError
        If the database cannot be reached or used.
    StudyMismatchError
        If the study holds other data, another metric, choices that cannot change, or trials
        that were trained with other settings.
    """
    config = loaded.config
    db = open_if_ready(config.study.storage)
    if db is None:
        return "would be created in a new database"
    with db:
        if not study_exists(db, config.study_name):
            return "would be created"
        record = record_of(loaded, manifest, Path())
        refuse_mismatch(db, config.study_name, record, accept_changed_data=accept_changed_data)
        _refuse_other_training(db, config.study_name, record)
        return "exists and would go on"


# ----------------------------------------------------------------------------- steps


def _data_of(config: SweepConfig, tables: FoldTables | None) -> dict[str, Any]:
    """Return fingerprint and place of each data file: a resume may begin in another folder."""
    prints: dict[str, dict[str, Any]] = {n: {**p} for n, p in file_fingerprints(config).items()}
    if tables is not None and "file" in prints:
        prints["file"]["parts"] = {n: part.fingerprint() for n, part in tables.parts.items()}
    named = {"test_file": config.data.test_file, "blind_file": config.data.blind_file}
    paths: dict[str, Path | None] = {**data_files(config.data), **named}
    return {
        name: {**entry, "path": str(path.absolute())}
        for name, entry in prints.items()
        if (path := paths[name]) is not None
    }


def _place_in(stored: Mapping[str, Any], config: SweepConfig) -> Path:
    """Return the folder that the stored configuration names, as it is written there."""
    folder = (stored.get("study") or {}).get("folder")
    parent = (stored.get("data") or {}).get("output_dir") or "studies"
    return Path(folder) if folder else Path(parent) / config.study_name


def _refuse_other_training(db: Database, name: str, record: StudyRecord) -> None:
    before = read_record(open_study(db, name)).config
    if lines := refused_changes(before, record.config):
        raise StudyMismatchError(
            f"study '{name}' in {db.masked_url} cannot go on with "
            f"{'; '.join(lines)}; leave that as it was, or begin a new study: "
            "chemprop-hpo sweep FILE --study NAME"
        )
