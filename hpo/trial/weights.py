"""Which files of a study are kept: the best trials' weights, and what can still be continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.chemistry.models.checkpoints import write_atomically
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.storage.trials import FoldersInUse

__all__ = ["claim_folder", "keep_only", "refuse_foreign"]

MARK = ".study.json"


def claim_folder(folder: Path, study: str, created: float, storage: str) -> None:
    """Mark a folder as a study's own, or find that it is.

    Parameters
    ----------
    folder : Path
        The study's folder; it is made where it is missing.
    study, created : str, float
        Name of the study and when it was created: together they tell it from any other.
    storage : str
        Masked URL of its database, for the message.

    Raises
    ------
    UsageError
        If the folder is another study's.
    """
    refuse_foreign(folder, study, created)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists():
        owner = {"study": study, "created": created, "storage": storage}
        write_atomically(mark, json.dumps(owner).encode())


def refuse_foreign(folder: Path, study: str, created: float | None) -> None:
    """Refuse a folder that holds the files of another study: they would be taken for leftovers.

    Parameters
    ----------
    folder : Path
        The study's folder; it need not exist.
    study, created : str, float or None
        Name of the study and when it was created; None for one that is to be created.

    Raises
    ------
    UsageError
        With whose the folder is.
    """
    mark = folder / MARK
    if not mark.exists():
        return
    owner = json.loads(mark.read_text())
    if (owner["study"], owner["created"]) != (study, created):
        raise UsageError(
            f"{folder} holds the files of another study, '{owner['study']}' in "
            f"{owner['storage']}; set study.folder, choose another name with --study, "
            "or remove that folder"
        )


def keep_only(folder: Path, in_use: Callable[[], FoldersInUse]) -> None:
    """Remove the folders of trials that nobody needs, and the checkpoints of finished ones.

    Parameters
    ----------
    folder : Path
        The study's folder.
    in_use : callable
        Which folders are in use. Asked after the folders were listed, so that one which
        another driver makes meanwhile is not taken for a leftover.
    """
    present = list((folder / "trials").glob("*"))
    used = in_use()
    for path in present:
        name = path.relative_to(folder).as_posix()
        if name in used.unfinished:
            continue
        if name in used.best:
            TrialFolder(path).drop_checkpoints()
        else:
            TrialFolder(path).clear()
