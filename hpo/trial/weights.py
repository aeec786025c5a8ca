"""Which files of a study are kept: the best trials' weights, and what can still be continued."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from chemprop_hpo.hpo.trial.checkpoint import TrialFolder

__all__ = ["keep_only"]


def keep_only(folder: Path, kept: Collection[str]) -> None:
    """Remove the folders of all trials but those named.

    Parameters
    ----------
    folder : Path
        The study's folder.
    kept : collection of str
        Folders to keep, relative to it.
    """
    for path in (folder / "trials").glob("*"):
        if path.relative_to(folder).as_posix() not in kept:
            TrialFolder(path).clear()
