"""``validate``: check a sweep's file without starting anything."""

from __future__ import annotations

from chemprop_hpo.hpo.commands.console import say
from chemprop_hpo.hpo.commands.options import Debug, Overrides, SweepFile
from chemprop_hpo.hpo.commands.overrides import checked_overrides

HELP = """\
Check a sweep's file: every key, value and condition.

All problems are listed at once, each with its place, what is wrong and what to do.
Data, database and resources are not looked at; `sweep --dry-run` does that.

\b
Examples:
  chemprop-hpo validate esol.yaml
  chemprop-hpo validate esol.yaml num_samples=20 model.depth=4
"""


def validate(file: SweepFile, overrides: Overrides = None, debug: Debug = False) -> None:
    """Check a file, and say in one line what it holds."""
    changes = checked_overrides(overrides)
    from chemprop_hpo.configs.load import load_sweep

    config = load_sweep(file, changes).config
    say(
        f"{file} is valid: study {config.study_name}, {config.num_samples} trials, "
        f"{len(config.search_space)} hyperparameters searched, {config.mode} {config.metric}"
    )
