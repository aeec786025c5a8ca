"""``registry rollback``: let the champion be the version before it."""

from __future__ import annotations

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.options import (
    DEFAULT_STORAGE,
    Debug,
    Overrides,
    StorageUrl,
    StudyName,
)
from chemprop_hpo.hpo.commands.registry.lines import Reason, say_settled
from chemprop_hpo.hpo.commands.registry.opening import configured, opened

HELP = """\
Let the champion be the version that it was before.

The version that failed keeps its figures and gets the tag status=failed_in_monitoring; nothing is
deleted. A version that was rolled back is not promoted again, unless its tag `status` is taken
away in MLflow.

\b
Examples:
  chemprop-hpo registry rollback --reason "errors on the new series"
  chemprop-hpo registry rollback --study esol

\b
Exit codes: 0 done, 1 another was quicker, 2 something to put right.
"""


def rollback(
    overrides: Overrides = None,
    reason: Reason = "no reason was given",
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Move the alias back, and say to which version."""
    with opened(configured(study, storage, overrides)) as found:
        from chemprop_hpo.hpo.promotion.rolling_back import roll_back

        done = roll_back(found.registry, found.ledger, reason)
    say_settled(done.settled)
    say(f"version {done.champion} of '{found.registry.name}' is the champion again")
    if done.undone:
        note(done.undone)
    else:
        say(f"version {done.failed} is tagged status=failed_in_monitoring: {reason}")
