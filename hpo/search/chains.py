"""A trial and those that it goes on with: one chain, known by its folder of checkpoints."""

from __future__ import annotations

from optuna import Study

__all__ = ["reached_epoch"]


def reached_epoch(study: Study, key: str) -> int:
    """Return the last epoch that any trial of a chain reported; 0 if none did.

    Parameters
    ----------
    study : optuna.Study
        The study.
    key : str
        What the trials of a chain share: their ``checkpoint`` attribute.
    """
    links = (t for t in study.get_trials(deepcopy=False) if t.user_attrs.get("checkpoint") == key)
    return max((link.last_step or 0 for link in links), default=0)
