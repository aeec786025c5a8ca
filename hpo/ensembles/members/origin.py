"""Remember beside a model's weights on which code it was trained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from chemprop_hpo.hpo.tracking.manifest import GitState, git_state

__all__ = ["common_origin", "note_origin", "present_origin", "read_origin"]

ORIGIN = "origin.json"
"""In the folder of a member."""


def present_origin() -> GitState:
    """Return the state of the repository that the working directory is in."""
    return git_state(Path.cwd())


def note_origin(folder: Path, origin: GitState) -> None:
    """Write down on which code a member's training begins or goes on.

    One that goes on with other code than it began with counts as trained on changed code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_origin(folder)
    if before is not None and before.commit != origin.commit:
        origin = GitState(origin.commit, dirty=True)
    (folder / ORIGIN).write_text(json.dumps(asdict(origin)) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> GitState | None:
    """Return what was written down of a member; None if nothing was."""
    try:
        return GitState(**json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def common_origin(folders: Iterable[Path]) -> GitState:
    """Return the code that all members were trained on; what they do not share is not known."""
    found = [read_origin(folder) for folder in folders]
    known = [origin for origin in found if origin is not None]
    commits = {origin.commit for origin in known}
    if not known or len(known) < len(found) or len(commits) > 1:
        return GitState()
    dirty = [origin.dirty for origin in known]
    return GitState(commits.pop(), None if None in dirty else any(dirty))
