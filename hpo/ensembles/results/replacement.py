"""Keep ensembles that stand in a folder from those that were asked for with other members."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.predictor.manifest import MANIFEST
from chemprop_hpo.storage.member_records import MemberKey

__all__ = ["check_replacement"]

log = logging.getLogger(__name__)

Place = tuple[int, int, int]
"""Trial, split and fold of a member."""


def check_replacement(folder: Path, asked: Iterable[MemberKey], *, force: bool) -> None:
    """Check that ensembles in a folder may give way to those that are asked for.

    They may where each of their members is asked for again: of the same command, and of one
    that wants more.

    Parameters
    ----------
    folder : Path
        Which `check_output` has found in order; it need not exist.
    asked : iterable of MemberKey
        All members, rank by rank.
    force : bool
        Others may give way as well, which is told.

    Raises
    ------
    UsageError
        If others stand there and ``force`` is off.
    """
    there, wanted = _members(folder), [key[:3] for key in asked]
    if set(there) <= set(wanted):
        return
    several = len({split for _, split, _ in (*there, *wanted)}) > 1
    held, now = (_in_words(members, several) for members in (there, wanted))
    if not force:
        raise UsageError(
            f"{folder}: holds {held}, and now {now} is asked for; add --force to replace it, or "
            "name another folder with -o"
        )
    log.info("%s: held %s, which is replaced by %s", folder, held, now)


def _members(folder: Path) -> list[Place]:
    """Return the members of all predictors in a folder, rank by rank."""
    manifests = [load_manifest(path.parent) for path in folder.glob(f"[!.]*/{MANIFEST}")]
    found = {
        (member.rank, member.trial, member.split, member.fold)
        for manifest in manifests
        for member in manifest.members
    }
    return [(trial, split, fold) for _, trial, split, fold in sorted(found)]


def _in_words(members: Sequence[Place], splits_too: bool) -> str:
    """Return what an ensemble is made of, as in ``the top 2 (trials 4, 1; folds 0, 1)``."""
    trials, splits, folds = (list(dict.fromkeys(column)) for column in zip(*members, strict=True))
    parts = [_counted("trial", trials)]
    parts += [_counted("split", sorted(splits))] if splits_too else []
    parts += [_counted("fold", sorted(folds))]
    return f"the top {len(trials)} ({'; '.join(parts)})"


def _counted(noun: str, numbers: Sequence[int]) -> str:
    return f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
