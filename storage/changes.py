"""Tell with which changes a study goes on, so that it remembers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chemprop_hpo.configs.secrets import same_place
from chemprop_hpo.storage.mismatch import by_short_name, changed, cut_differences, data_differences
from chemprop_hpo.storage.records import StudyRecord

__all__ = ["accepted_changes"]

Files = Mapping[str, Mapping[str, Any]]

# The record tells these better: the space as it is searched, and the folder as it was found.
_TOLD_ELSEWHERE = {("search_space",), ("study", "folder")}
_PATHS_OF_DATA = {("data", key) for key in ("file", "data_dir", "test_file", "blind_file")}


def accepted_changes(stored: StudyRecord, new: StudyRecord) -> list[str]:
    """Return one line for each change from the record of a study to that with which it goes on.

    Keys of the configuration that only one of the two knows are passed over: another version of
    the program wrote it.

    Parameters
    ----------
    stored, new : StudyRecord
        Both as they are stored, without passwords. What keeps a study from going on is not
        looked for: see `mismatch.differences`.
    """
    return [
        *data_differences(stored.data, new.data),
        *cut_differences(stored, new),
        *_moves(stored.data, new.data),
        *_space_changes(stored.space, new.space),
        *_config_changes(stored, new),
        *changed("folder", stored.folder, new.folder),
        *_version_changes(stored.versions, new.versions),
    ]


def _moves(old: Files, new: Files) -> Iterator[str]:
    old, new = by_short_name(old, new)
    for name in sorted(old.keys() & new.keys()):
        if "path" in old[name] and "path" in new[name]:
            yield from changed(f"data {name}", old[name]["path"], new[name]["path"])


def _space_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after, place = old.get(name), new.get(name), f"search_space.{name}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            for part in sorted(before.keys() | after.keys()):
                yield from changed(f"{place}.{part}", before.get(part), after.get(part))
        else:
            yield from changed(place, before or "absent", after or "absent")


def _config_changes(stored: StudyRecord, new: StudyRecord) -> Iterator[str]:
    told = _TOLD_ELSEWHERE | (_PATHS_OF_DATA if _knows_paths(stored, new) else set())
    yield from _leaf_changes((), stored.config, new.config, told)


def _knows_paths(*records: StudyRecord) -> bool:
    return all("path" in file for record in records for file in record.data.values())


def _leaf_changes(
    path: tuple[str, ...], old: Any, new: Any, told: set[tuple[str, ...]]
) -> Iterator[str]:
    if path in told:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in (key for key in old if key in new):
            yield from _leaf_changes((*path, key), old[key], new[key], told)
    elif not (isinstance(old, str) and isinstance(new, str) and same_place(old, new)):
        yield from changed(".".join(path), old, new)


def _version_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() & new.keys()):
        yield from changed(f"versions.{name}", old[name], new[name])
