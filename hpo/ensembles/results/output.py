"""The folder that ensembles are written to, and what may stand in it already."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from chemprop_hpo.configs.errors import ChempropHpoError, UsageError
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.predictor.manifest import MANIFEST
from chemprop_hpo.hpo.report.drawing import is_drawn_here
from chemprop_hpo.hpo.report.html import PLOTS

__all__ = [
    "BLIND",
    "COMBINED_FOLDER",
    "FIGURES",
    "OUT_OF_FOLD",
    "TABLES",
    "TEST",
    "check_output",
    "rank_folder",
    "remove_other_ranks",
    "remove_other_tables",
    "remove_plots",
    "writing_alone",
]

log = logging.getLogger(__name__)

COMBINED_FOLDER = "combined"
OUT_OF_FOLD, FIGURES = "out_of_fold.csv", "figures.csv"
TEST, BLIND = "test_predictions.csv", "blind_predictions.csv"
TABLES = (OUT_OF_FOLD, TEST, BLIND, FIGURES)
_HALF_WRITTEN = re.compile(r"\.(rank_\d+|combined)\.[0-9a-f]+\.(tmp|old)")
_OURS = re.compile(r"rank_\d+|combined|plots|report\.html|records\.json")
_LOCK = ".lock"


def rank_folder(rank: int) -> str:
    """Return the folder of a rank's predictor."""
    return f"rank_{rank}"


def check_output(folder: Path, study: str) -> None:
    """Check that ensembles of a study may be written to a folder, and can be; nothing is made.

    Raises
    ------
    UsageError
        If something else stands there, or ensembles of another study, or it cannot be written.
    """
    if not _exists(folder):
        _require_writable(next(p for p in (folder, *folder.parents) if os.path.lexists(p)))
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give -o a folder")
    shown = _shown_in(folder)
    _check_names(folder, [path.name for path in shown])
    for manifest in sorted(folder.glob(f"[!.]*/{MANIFEST}")):
        _check_predictor(manifest.parent, study)
    for place in (folder, *filter(Path.is_dir, shown)):
        _require_writable(place)
    if (folder / _LOCK).exists():
        os.close(_open_lock(folder))


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Make a folder, and hold the right to write to it; whoever comes second waits.

    The lock is a hidden file in it that stays; the right goes with the process that held it.

    Raises
    ------
    UsageError
        If nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    handle = _open_lock(folder)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def remove_other_ranks(folder: Path, ranks: int) -> None:
    """Remove predictors of ranks that this command did not write, and what a kill left half."""
    kept = {rank_folder(rank) for rank in range(1, ranks + 1)}
    for path in folder.glob("rank_*"):
        if path.name not in kept and (path / MANIFEST).is_file():
            shutil.rmtree(path)
    for path in folder.glob(".*"):
        if path.is_dir() and _HALF_WRITTEN.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def remove_other_tables(folder: Path, kept: Collection[str]) -> None:
    """Remove tables that an earlier command wrote and this one does not."""
    for name in set(TABLES) - set(kept):
        (folder / name).unlink(missing_ok=True)


def remove_plots(folder: Path) -> None:
    """Remove the pictures of an earlier command, which may be of other targets, but no others."""
    for path in (folder / PLOTS).glob("*.png"):
        if is_drawn_here(path):
            path.unlink()


def _exists(folder: Path) -> bool:
    try:
        folder.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(folder, error) from None
    return True


def _shown_in(folder: Path) -> list[Path]:
    """Return what stands in a folder but for what is hidden, as file browsers leave it."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise _unwritable(folder, error) from None


def _check_names(folder: Path, names: Collection[str]) -> None:
    strange = sorted(name for name in names if not _OURS.fullmatch(name) and name not in TABLES)
    if strange:
        raise UsageError(
            f"{folder}: holds {', '.join(strange[:3])}, which no ensemble writes; "
            "give -o a folder that is empty or does not exist"
        )


def _require_writable(folder: Path) -> None:
    """Make a file without a name in a folder, which is gone at once."""
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unwritable(folder, error) from None


def _open_lock(folder: Path) -> int:
    path = folder / _LOCK
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be written ({error.strerror}); give -o another folder")


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another command writes to %s; waiting for it", folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # a network folder without locks
        log.warning("%s: cannot be locked (%s); let no other command write to it", folder, error)


def _check_predictor(folder: Path, study: str) -> None:
    try:
        other = load_manifest(folder).study
    except ChempropHpoError as problem:
        raise UsageError(f"{problem}; remove {folder}, or give -o another folder") from problem
    if other != study:
        raise UsageError(
            f"{folder.parent}: holds ensembles of study '{other}'; give -o another folder"
        )
