"""Check that ensembles can be made of a study with the data as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.identity import check_study, manifest_of
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study, read_record

if TYPE_CHECKING:  # RDKit takes a second to import, and a first look does not need it
    from chemprop_hpo.hpo.chemistry.tables.data import FoldTables

__all__ = ["check_data"]

UNSEEN = ("test_file", "blind_file")
"""Files that no trial has seen: a study without them may get them."""


def check_data(
    loaded: LoadedSweep, tables: FoldTables | None = None, *, accept_changed_data: bool = False
) -> None:
    """Check a study that exists against its configuration and files as they are here.

    Parameters
    ----------
    loaded : LoadedSweep
        The study's configuration, as it is here.
    tables : FoldTables, optional
        The sweep's own fold, as it is cut here: the study knows how it was cut there.
    accept_changed_data : bool
        Go on although files have other contents than the study knows.

    Raises
    ------
    StudyMismatchError
        If files were changed or are cut otherwise, or the configuration is no longer that of
        the trials.
    UnknownStudyError, StorageError, DataError
        If study, database or files are not there.
    """
    config = loaded.config
    with open_database(config.study.storage, create=False) as db:
        known = read_record(open_study(db, config.study_name)).data
    manifest = manifest_of(config, tables)
    data = _as_known(manifest["data"], known)
    check_study(loaded, {**manifest, "data": data}, accept_changed_data=accept_changed_data)


def _as_known(found: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: file for name, file in found.items() if name in known or name not in UNSEEN}
    # Without its test file a study would set test rows aside among those that it was trained on.
    if "blind_file" in known and "blind_file" not in found:
        kept["blind_file"] = known["blind_file"]
    if "test_file" in found and "test_file" not in known and "file" in kept:
        # No rows are set aside for a test any more, so that all are cut anew.
        kept["file"] = {key: value for key, value in kept["file"].items() if key != "parts"}
    return kept
