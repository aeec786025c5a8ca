"""``registry check``: hold the champion against fresh measurements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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
from chemprop_hpo.hpo.commands.registry.lines import say_settled
from chemprop_hpo.hpo.commands.registry.opening import OpenRegistry, configured, opened

if TYPE_CHECKING:
    from chemprop_hpo.hpo.promotion.checking import Check

HELP = """\
Compute the champion's error on fresh labels, and say whether to keep it or roll it back.

It is rolled back only if its error exceeds that of its test rows by more than
promotion.max_monitored_regression, not by chance (the 95 % interval of a bootstrap), on at least
promotion.min_monitored_rows molecules. Molecules that it was trained or tested on are left out,
and so are targets with fewer labels, where others have enough.

\b
Examples:
  chemprop-hpo registry check --data new_measurements.csv
  chemprop-hpo registry check --data new_measurements.csv --apply

\b
Exit codes: 0 keep, or rolled back as --apply asked; 1 it should be rolled back, and was not;
2 something to put right.
"""

Data = Annotated[
    Path,
    typer.Option("--data", metavar="FILE", help="A CSV file with SMILES and fresh labels."),
]
SmilesCol = Annotated[
    str | None,
    typer.Option(
        "--smiles-col", metavar="NAME", help="Column of the SMILES; by default the training data's."
    ),
]
Apply = Annotated[
    bool, typer.Option("--apply", help="Roll back where that is the answer.", show_default=False)
]


def check(
    data: Data,
    overrides: Overrides = None,
    smiles_col: SmilesCol = None,
    apply: Apply = False,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Compare the errors, and act on it if asked."""
    from chemprop_hpo.hpo.predictor.tables import require_input

    require_input(data)
    with opened(configured(study, storage, overrides)) as found:
        from chemprop_hpo.hpo.promotion.checking import check_champion
        from chemprop_hpo.hpo.promotion.settling import settle

        say_settled(settle(found.registry, found.ledger))
        done = check_champion(found.registry, found.config, data, smiles_col)
        say(f"champion {done.champion} of '{found.registry.name}' {_found(done)}")
        for text in _left_out(done):
            note(text)
        for rule in done.decision.rules:
            say(f"  {rule.text}")
        if not done.decision.allowed:
            say("keep")
        elif apply:
            _roll_back(found, done)
        else:
            say("roll back: chemprop-hpo registry rollback, or this command with --apply")
            raise typer.Exit(1)


def _found(done: Check) -> str:
    labels, figure = done.fresh.labels, done.fresh.figure
    if not labels:
        return "cannot be compared"
    rows = ", ".join(f"{n} of {name}" for name, n in labels.items())
    where = f"{done.fresh.rows} fresh molecules" if len(labels) == 1 else f"fresh labels ({rows})"
    return f"on {where}: {figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"


def _left_out(done: Check) -> Iterator[str]:
    """Say which molecules do not count, where there are any."""
    if done.trained_on:
        yield f"{done.trained_on} molecules were left out, since the champion was trained on them"
    if done.tested_on:
        yield f"{done.tested_on} molecules were left out, since the champion was tested on them"
    if done.conflicting:
        yield f"{done.conflicting} molecules were measured as both classes, which does not count"
    if done.unpredicted:
        yield f"{done.unpredicted} molecules have labels without a finite prediction"


def _roll_back(found: OpenRegistry, judged: Check) -> None:
    from chemprop_hpo.hpo.promotion.rolling_back import roll_back

    decision = judged.decision
    done = roll_back(
        found.registry,
        found.ledger,
        decision.reason,
        decision.as_dict(),
        expected=judged.champion,
    )
    say_settled(done.settled)
    say(f"rolled back: version {done.champion} is the champion again, {done.failed} has failed")
