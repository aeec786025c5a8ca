"""The commands that a person may want next, ready to be copied."""

from __future__ import annotations

import os
import shlex

from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, STORAGE_VARIABLE

__all__ = ["command_on", "next_steps"]


def command_on(verb: str, study: str, storage: str, *more: str) -> str:
    """Return a command on a study.

    Parameters
    ----------
    verb, study : str
        The command and the study's name.
    storage : str
        The URL without its password, which is a reference to the environment or ``***``, to be
        written in by the reader. It is left out where the environment already holds the URL.
    *more : str
        Further arguments.
    """
    place = () if _is_default(storage) else ("--storage", storage)
    return shlex.join(["chemprop-hpo", verb, "--study", study, *place, *more])


def next_steps(study: str, storage: str, num_samples: int) -> list[str]:
    """Return lines that name the next commands to try after a finished sweep."""
    best = ("-k", "1", "--format", "yaml", "-o", "best.yaml")
    return [
        "what to try next:",
        f"  {command_on('top-k', study, storage)}",
        f"  {command_on('top-k', study, storage, *best)}",
        f"  {command_on('ensembles', study, storage, '--top-k', str(min(3, num_samples)))}",
        f"  {command_on('status', study, storage)}",
        f"  {command_on('resume', study, storage, '--num-samples', str(2 * num_samples))}",
    ]


def _is_default(storage: str) -> bool:
    from chemprop_hpo.configs.secrets import same_place

    return same_place(storage, os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE)
