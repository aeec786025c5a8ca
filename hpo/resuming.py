"""Take up a study where it is now: its own configuration, with its data wherever they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.resuming import load_resumed
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.studies import StudyRecord, open_study, read_record

__all__ = ["sweep_of_study"]

log = logging.getLogger(__name__)

_PARTS = {
    "file": "file",
    "data_dir": "train",
    "test_file": "test_file",
    "blind_file": "blind_file",
}
"""The keys under ``data`` that name a path, and the file of the record that tells where it was."""


def sweep_of_study(
    db: Database,
    name: str,
    storage: str,
    *,
    overrides: Sequence[str] = (),
    num_samples: int | None = None,
) -> LoadedSweep:
    """Return the configuration with which a study goes on in the present folder.

    A data file that is not where the configuration says, seen from here, is looked for where
    the study read it last; its content is compared later, as that of any other.

    Parameters
    ----------
    db : Database
        Holds the study.
    name, storage : str
        The study's name, and its database's URL with the password.
    overrides : sequence of str
        ``key=value`` changes of what may differ here: paths, resources, tracking.
    num_samples : int, optional
        The study's new total of trials.

    Raises
    ------
    UnknownStudyError
        If there is no such study.
    ConfigError
        If the overrides, or what they make of the configuration, are wrong.
    DataError
        With a line for each data file that is nowhere.
    """
    record = read_record(open_study(db, name))
    loaded = load_resumed(
        record.config, overrides, name=name, storage=storage, num_samples=num_samples
    )
    return _with_data_found(loaded, record)


@dataclass(frozen=True)
class _Missing:
    """A path under ``data`` that leads nowhere from here, and where the study found it before."""

    key: str
    path: Path
    before: Path | None

    def problem(self) -> str:
        nor = f", nor {self.before}, where the study read it" if self.before else ""
        where = "" if self.path.is_absolute() else f" in {Path.cwd()}"
        return (
            f"data.{self.key}: there is no {self.path}{where}{nor}; "
            f"say where it is: data.{self.key}=PATH"
        )


def _with_data_found(loaded: LoadedSweep, record: StudyRecord) -> LoadedSweep:
    missing = list(_missing(loaded, record))
    lost = [one.problem() for one in missing if one.before is None or not _exists(one.before)]
    if lost:
        raise DataError("\n".join(lost))
    for one in missing:
        log.info("data.%s: there is no %s here; reading %s", one.key, one.path, one.before)
    found = {one.key: one.before for one in missing}
    data = loaded.config.data.model_copy(update=found)
    return LoadedSweep(loaded.config.model_copy(update={"data": data}), loaded.stored)


def _missing(loaded: LoadedSweep, record: StudyRecord) -> Iterator[_Missing]:
    for key, part in _PARTS.items():
        path: Path | None = getattr(loaded.config.data, key)
        if path is not None and not _exists(path):
            given_now = loaded.stored["data"][key] != _data_in(record.config).get(key)
            yield _Missing(key, path, None if given_now else _before(record, key, part, path))


def _before(record: StudyRecord, key: str, part: str, path: Path) -> Path | None:
    written = (record.data.get(part) or {}).get("path")
    if written is None or written == str(path):
        return None
    return Path(written).parent if key == "data_dir" else Path(written)


def _data_in(config: Mapping[str, Any]) -> Mapping[str, Any]:
    section = config.get("data")
    return section if isinstance(section, Mapping) else {}


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # False, too, where a folder on the way may not be read
