"""Know the files that a sweep's data are in, and recognise them by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypedDict

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import DataConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.csv_files import read_csv
from chemprop_hpo.hpo.chemistry.tables.problems import raise_all


class Fingerprint(TypedDict):
    """What a file holds: the SHA-256 of its bytes and the number of its rows."""

    sha256: str
    rows: int


def data_files(data: DataConfig) -> dict[str, Path]:
    """Return the files with labels to train on: ``train`` and ``validation``, or ``file``.

    Raises
    ------
    DataError
        If the configuration names no file, or the folder does not hold one fold.
    """
    if data.data_dir is not None:
        return _folder_files(data.data_dir)
    if data.file is not None:
        return {"file": data.file}
    raise DataError("data: no table is named; give data.data_dir or data.file")


def file_fingerprints(config: SweepConfig) -> dict[str, Fingerprint]:
    """Fingerprint every data file that the configuration names, without judging its content.

    Returns
    -------
    dict
        By the file's part: ``train`` and ``validation``, or ``file``; ``test_file`` and
        ``blind_file`` if there are such. A file that was moved keeps its fingerprint.

    Raises
    ------
    DataError
        If files are missing or are no tables; one line for each.
    """
    files = data_files(config.data)
    extra = {"test_file": config.data.test_file, "blind_file": config.data.blind_file}
    files |= {name: path for name, path in extra.items() if path is not None}
    fingerprints: dict[str, Fingerprint] = {}
    problems = []
    for name, path in files.items():
        try:
            fingerprints[name] = _fingerprint(path)
        except DataError as problem:
            problems.append(str(problem))
    raise_all(problems)
    return fingerprints


def _fingerprint(path: Path) -> Fingerprint:
    rows = len(read_csv(path))
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": rows}


def _folder_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; data.data_dir names that of one fold")
    files = {name: folder / f"{name}.csv" for name in ("train", "validation")}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: holds no {' and no '.join(missing)}; {_folder_advice(folder)}")
    return files


def _folder_advice(folder: Path) -> str:
    for pattern in ("fold_*", "split_*/fold_*"):
        for fold in sorted(folder.glob(pattern)):
            if (fold / "train.csv").is_file():
                return f"did you mean {fold}?"
    return "data.data_dir names the folder of one fold, with train.csv and validation.csv"
