"""The folder that ensembles are written to, and what may stand in it already."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from chemprop_hpo.configs.errors import ChempropHpoError, UsageError
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.predictor.manifest import MANIFEST

__all__ = ["COMBINED_FOLDER", "TABLES", "check_output", "rank_folder", "remove_other_ranks"]

COMBINED_FOLDER = "combined"
TABLES = (
    "out_of_fold.csv",
    "test_predictions.csv",
    "blind_predictions.csv",
    "figures.csv",
)
_OURS = re.compile(r"rank_\d+|combined|plots|report\.html|\..*\.(tmp|old)")


def rank_folder(rank: int) -> str:
    """Return the folder of a rank's predictor."""
    return f"rank_{rank}"


def check_output(folder: Path, study: str) -> None:
    """Check that ensembles of a study may be written to a folder; nothing is made.

    Raises
    ------
    UsageError
        If something else stands there, or ensembles of another study.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give -o a folder")
    strange = [p.name for p in folder.iterdir() if not _OURS.fullmatch(p.name)]
    strange = sorted(set(strange) - set(TABLES))
    if strange:
        raise UsageError(
            f"{folder}: holds {', '.join(strange[:3])}, which no ensemble writes; "
            "give -o a folder that is empty or does not exist"
        )
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        _check_predictor(manifest.parent, study)


def remove_other_ranks(folder: Path, ranks: int) -> None:
    """Remove predictors of ranks that an earlier command wrote and this one does not."""
    kept = {rank_folder(rank) for rank in range(1, ranks + 1)}
    for path in folder.glob("rank_*"):
        if path.name not in kept and (path / MANIFEST).is_file():
            shutil.rmtree(path)


def _check_predictor(folder: Path, study: str) -> None:
    try:
        other = load_manifest(folder).study
    except ChempropHpoError as problem:
        raise UsageError(f"{problem}; remove {folder}, or give -o another folder") from problem
    if other != study:
        raise UsageError(
            f"{folder.parent}: holds ensembles of study '{other}'; give -o another folder"
        )
