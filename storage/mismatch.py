"""Tell in which way two records speak of different studies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from chemprop_hpo.storage.records import StudyRecord

__all__ = ["by_short_name", "changed", "cut_differences", "data_differences", "differences"]

# What the metric is measured on: values before and after a change could not be compared.
_MEASURED = (
    ("task",),
    ("data", "smiles_col"),
    ("data", "target_cols"),
    ("data", "target_weights"),
    ("data", "target_transforms"),
    ("split",),
    ("optimization", "criterion"),
)

_WHY_NOT = {
    "type": "a study cannot change the kind of a parameter",
    "choices": "a study cannot change choices: its trials know theirs by their places",
    "value": "a study cannot change a fixed value: its trials were made with it",
}


def differences(
    stored: StudyRecord, new: StudyRecord, *, accept_changed_data: bool = False
) -> list[str]:
    """Return one line for each thing that keeps ``new`` from going on with ``stored``.

    Ranges may change, and parameters may come and go. The choices and the kind of a parameter
    may not, since Optuna cannot carry finished trials over.
    """
    return [
        *changed("metric", stored.metric, new.metric),
        *changed("mode", stored.mode, new.mode),
        *([] if accept_changed_data else data_differences(stored.data, new.data)),
        *([] if accept_changed_data else cut_differences(stored, new)),
        *_measure_differences(stored.config, new.config),
        *_space_differences(stored.space, new.space),
    ]


def changed(what: str, old: Any, new: Any) -> Iterator[str]:
    """Yield a line if two values differ otherwise than in how JSON writes them."""
    if _plain(old) != _plain(new):
        yield f"{what}: {_shown(old)} in the study, {_shown(new)} now"


def data_differences(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a line for each data file whose content differs."""
    old, new = by_short_name(old, new)
    for name in sorted(old.keys() | new.keys()):
        if _sha(old.get(name)) != _sha(new.get(name)):
            there, here = _file_text(old.get(name)), _file_text(new.get(name))
            yield f"data {name}: {there} in the study, {here} now"


def cut_differences(stored: StudyRecord, new: StudyRecord) -> Iterator[str]:
    """Yield a line if the same file with the same settings is cut into other parts.

    Scaffolds, clusters and which molecules are equal come from RDKit and scikit-learn, and other
    versions of them may see it otherwise.
    """
    old, now = stored.data.get("file"), new.data.get("file")
    settings = [*_measure_differences(stored.config, new.config)]
    if settings or _sha(old) != _sha(now):
        return  # told already, and reason enough
    before, after = _parts(old), _parts(now)
    names = [name for name in sorted(before.keys() & after.keys()) if before[name] != after[name]]
    if names:
        yield (
            f"data file: its {' and '.join(names)} rows are others here than in the study "
            f"({_cutters(stored)} there, {_cutters(new)} here); install those versions, or write "
            "the parts into a column of the file and begin a new study (split.method: column)"
        )


def by_short_name(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, Mapping[str, Any]]]:
    """Name files without their folders where that is unambiguous: data may have moved."""
    short = [{PurePath(name).name: value for name, value in files.items()} for files in (old, new)]
    if len(short[0]) == len(old) and len(short[1]) == len(new):
        return short[0], short[1]
    return old, new


def _sha(file: Mapping[str, Any] | None) -> Any:
    return None if file is None else file.get("sha256")


def _parts(file: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the fingerprint of each part; a study of an earlier version has none."""
    return (file or {}).get("parts") or {}


def _cutters(record: StudyRecord) -> str:
    names = {"rdkit": "RDKit", "scikit-learn": "scikit-learn"}
    return ", ".join(f"{shown} {record.versions.get(name)}" for name, shown in names.items())


def _file_text(file: Mapping[str, Any] | None) -> str:
    if file is None:
        return "absent"
    return f"{file.get('rows', '?')} rows, sha256 {str(file.get('sha256'))[:12]}"


def _measure_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for path in _MEASURED:
        yield from changed(".".join(path), _at(old, path), _at(new, path))
    yield from changed("split.seed", _split_seed(old), _split_seed(new))


def _at(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = config
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if path == ("split",) and isinstance(value, Mapping):
        return {key: part for key, part in value.items() if key != "seed"}
    return value


def _split_seed(config: Mapping[str, Any]) -> Any:
    """Return the seed of the split, which is the sweep's own where none is written."""
    split = config.get("split")
    if not split or split.get("method") == "column":
        return None
    seed = split.get("seed")
    return config.get("seed") if seed is None else seed


def _space_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(old.keys() & new.keys()):
        before, after = _plain(old[name]), _plain(new[name])
        for part, reason in _WHY_NOT.items():
            for line in changed(f"search_space.{name}", before.get(part), after.get(part)):
                yield f"{line}; {reason}"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
