"""Ask for trials that were trained to their end, without which there is no ensemble."""

from __future__ import annotations

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.storage.studies import Study
from chemprop_hpo.storage.trials import counts

__all__ = ["require_complete"]


def require_complete(study: Study) -> int:
    """Return how many trials of a study are complete.

    Raises
    ------
    UsageError
        If there is none.
    """
    complete = counts(study)["COMPLETE"]
    if not complete:
        raise UsageError(
            f"study '{study.study_name}' has no complete trial to train an ensemble of; "
            f"let it go on: chemprop-hpo resume --study {study.study_name}"
        )
    return complete
