"""``registry promote``: make the candidate the champion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.options import (
    DEFAULT_STORAGE,
    Debug,
    Overrides,
    StorageUrl,
    StudyName,
)
from chemprop_hpo.hpo.commands.registry.lines import rule_lines, say_settled
from chemprop_hpo.hpo.commands.registry.opening import configured, opened

if TYPE_CHECKING:
    from chemprop_hpo.hpo.promotion.promoting import Promotion

HELP = """\
Make the candidate the champion, if it is better enough and nothing became worse.

The rules and their bounds are in the section `promotion` of the sweep's file. Each rule says what
it found and what it asks for. The first candidate becomes champion without a comparison. A paired
bootstrap on the shared test rows says how probable it is that the candidate is better.

\b
Examples:
  chemprop-hpo registry promote --dry-run
  chemprop-hpo registry promote --study esol
  chemprop-hpo registry promote promotion.min_probability=0.9

\b
Exit codes: 0 promoted (or would be), 1 blocked, or another was quicker,
2 something to put right.
"""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Decide and say so; move nothing.", show_default=False)
]


def promote(
    overrides: Overrides = None,
    dry_run: DryRun = False,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Decide on the candidate, and say why."""
    with opened(configured(study, storage, overrides)) as found:
        from chemprop_hpo.hpo.promotion.promoting import promote as promote_candidate

        done = promote_candidate(
            found.registry, found.ledger, found.config.promotion, dry_run=dry_run
        )
    say_settled(done.settled)
    _say(done, found.registry.name)
    if not done.decision.allowed:
        raise typer.Exit(1)


def _say(done: Promotion, name: str) -> None:
    against = f"champion {done.champion}" if done.champion else "no champion"
    say(f"candidate {done.candidate} of '{name}' against {against}")
    for line in rule_lines(done.decision):
        say(line)
    if done.gain is not None and math.isfinite(done.gain.gain.value):
        gain = done.gain.gain
        say(
            f"  gain on {done.gain.rows} test rows: "
            f"{gain.value:.3g} [{gain.low:.3g}, {gain.high:.3g}]"
        )
    if done.moved:
        say(f"version {done.candidate} of '{name}' is the champion")
        if done.undone:
            note(done.undone)
    elif done.decision.allowed:
        say(f"version {done.candidate} would become the champion; nothing was moved")
    else:
        note("not promoted; the champion stays")
