"""``delete``: remove a study and its checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.commands.console import note
from chemprop_hpo.hpo.commands.opening import OpenStudy, existing_study
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl

HELP = """\
Delete a study: its trials in the database and its folder of checkpoints.

It says what would be deleted, and asks. A study that a sweep works on is refused. Runs that
were logged to MLflow stay there.

\b
Examples:
  chemprop-hpo delete --study esol
  chemprop-hpo delete --study esol --yes
"""

Name = Annotated[str, typer.Option("--study", metavar="NAME", help="The study to delete.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def delete(
    study: Name, storage: StorageUrl = DEFAULT_STORAGE, yes: Yes = False, debug: Debug = False
) -> None:
    """Ask, then delete the study and its folder."""
    from chemprop_hpo.storage.studies import delete_study

    with existing_study(study, storage) as opened:
        folder = _folder(opened)
        _say_what(opened, folder)
        if not yes and not _confirmed():
            note("nothing was deleted")
            raise typer.Exit(1)
        delete_study(opened.database, opened.name)
    if folder is not None:
        _remove(folder)
    note(f"study {study} is deleted")


def _folder(opened: OpenStudy) -> Path | None:
    """Return the folder of the study's checkpoints, if it is there and a folder of its own."""
    folder = Path(opened.record.folder)
    is_whole_tree = folder.resolve() in (Path.cwd(), *Path.cwd().parents, Path.home())
    return folder if folder.is_dir() and not is_whole_tree else None


def _say_what(opened: OpenStudy, folder: Path | None) -> None:
    trials = len(opened.study.get_trials(deepcopy=False))
    place = opened.database.masked_url
    note(f"study {opened.name} in {place}: {trials} trials will be deleted")
    if folder is not None:
        note(f"folder {folder}: {_megabytes(folder):.1f} MB of checkpoints will be deleted")


def _megabytes(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def _confirmed() -> bool:
    try:
        return typer.confirm("delete this for good?", err=True)
    except typer.Abort:
        note("")
        raise UsageError("nobody answered; to delete without being asked, add --yes") from None


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UsageError(
            f"the study is gone from the database, but not its folder {folder}: "
            f"{error.strerror or error}; delete it by hand"
        ) from error
