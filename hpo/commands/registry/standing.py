"""``registry status``, ``history`` and ``adopt``: what is in use, and how it came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.options import (
    DEFAULT_STORAGE,
    Debug,
    Overrides,
    StorageUrl,
    StudyName,
)
from chemprop_hpo.hpo.commands.registry.lines import Reason, say_settled
from chemprop_hpo.hpo.commands.registry.opening import OpenRegistry, configured, opened
from chemprop_hpo.hpo.commands.trial_tables import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from chemprop_hpo.hpo.promotion.registered.registry import Version
    from chemprop_hpo.storage.ledger import Move

STATUS_HELP = """\
Show the versions of the registered model: their aliases, figures, and what became of them.

What a killed command left half done is settled first; an alias that a hand has moved is told.

\b
Examples:
  chemprop-hpo registry status
  chemprop-hpo registry status --study esol
"""

HISTORY_HELP = """\
Show every move of an alias: who replaced whom, when, and why.

\b
Examples:
  chemprop-hpo registry history
  chemprop-hpo registry history --study esol
"""

ADOPT_HELP = """\
Enter in the history what a hand has moved in MLflow, so that it counts.

Nothing is moved. Until then `promote` and `rollback` refuse to touch that alias.

\b
Examples:
  chemprop-hpo registry adopt
  chemprop-hpo registry adopt --reason "the pilot's model, set in the UI"
"""

FIGURES = ("best_val_rmse", "val_roc_auc", "test_rmse", "test_nrmse", "test_mae", "test_roc_auc")


def status(
    overrides: Overrides = None,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Print a line a version."""
    with opened(configured(study, storage, overrides)) as found:
        from chemprop_hpo.hpo.promotion.settling import settle

        say_settled(settle(found.registry, found.ledger))
        versions = found.registry.versions()
        begun = "" if found.ledger.begun else ", which is not there yet"
        say(f"registered model '{found.registry.name}', ledger {found.ledger.masked_url}{begun}")
        if not versions:
            say("no version yet; register one with: chemprop-hpo registry candidate")
            return
        table = _left("version", "aliases", "kind", "figures", "registered", "status")
        for version in reversed(versions):
            table.add_row(*_cells(found, version))
        say(table)


def history(
    overrides: Overrides = None,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Print a line a move, the latest last."""
    with opened(configured(study, storage, overrides)) as found:
        moves = found.ledger.history(found.registry.model)
    if not moves:
        say(f"the ledger {found.ledger.masked_url} has no move of '{found.registry.name}'")
        return
    table = _left("when (UTC)", "alias", "from", "to", "what", "who", "why")
    for move in moves:
        table.add_row(*_move_cells(move))
    say(table)


def adopt(
    overrides: Overrides = None,
    reason: Reason = "moved by hand in MLflow",
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    debug: Debug = False,
) -> None:
    """Take over what a hand has moved."""
    with opened(configured(study, storage, overrides), begins=True) as found:
        from chemprop_hpo.hpo.promotion.adopting import adopt_moved, unknown_versions

        adopted = adopt_moved(found.registry, found.ledger, reason)
        unknown = unknown_versions(found.registry, adopted)
        if not adopted:
            found.registry.require()
    if not adopted:
        raise UsageError(
            f"no alias of '{found.registry.name}' was moved by hand; there is nothing to adopt"
        )
    for move in adopted:
        say(f"'{move.alias}' is version {move.version or '-'} by the ledger too")
    for said in unknown:
        note(f"nothing can be promoted with that: {said}")


def _left(*columns: str) -> Table:
    table = plain_table(*columns)
    for column in table.columns:
        column.justify = "left"
    return table


def _cells(found: OpenRegistry, version: Version) -> tuple[str, ...]:
    from chemprop_hpo.hpo.promotion.registered.registry import STATUS

    metrics = found.registry.metrics(version)
    figures = ", ".join(f"{name} {metrics[name]:.4g}" for name in FIGURES if name in metrics)
    return (
        version.number,
        ", ".join(version.aliases) or "-",
        version.tags.get("chemprop_hpo.kind", "?"),
        figures or "none logged",
        f"{version.created:%Y-%m-%d %H:%M}",
        version.tags.get(STATUS, "-"),
    )


def _move_cells(move: Move) -> tuple[str, ...]:
    return (
        f"{move.settled_at or move.intended_at:%Y-%m-%d %H:%M:%S}",
        move.alias,
        move.expected or "-",
        move.version or "-",
        move.kind if move.state == "done" else f"{move.kind}, {move.state}",
        move.actor,
        move.reason + (f" ({move.note})" if move.note else ""),
    )
