"""Check that ensembles can be made of a study with the data as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.identity import check_study, manifest_of
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study, read_record

__all__ = ["check_data"]

UNSEEN = ("test_file", "blind_file")
"""Files that no trial has seen: a study without them may get them."""


def check_data(loaded: LoadedSweep, *, accept_changed_data: bool = False) -> None:
    """Check a study that exists against its configuration and files as they are here.

    Parameters
    ----------
    loaded : LoadedSweep
        The study's configuration, as it is here.
    accept_changed_data : bool
        Go on although files have other contents than the study knows.

    Raises
    ------
    StudyMismatchError
        If files were changed, or the configuration is no longer that of the trials.
    UnknownStudyError, StorageError, DataError
        If study, database or files are not there.
    """
    config = loaded.config
    with open_database(config.study.storage, create=False) as db:
        known = read_record(open_study(db, config.study_name)).data
    manifest = manifest_of(config)
    data = _as_known(manifest["data"], known)
    check_study(loaded, {**manifest, "data": data}, accept_changed_data=accept_changed_data)


def _as_known(found: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: file for name, file in found.items() if name in known or name not in UNSEEN}
    # Without its test file a study would set test rows aside among those that it was trained on.
    if "blind_file" in known and "blind_file" not in found:
        kept["blind_file"] = known["blind_file"]
    return kept
