"""What the registry's commands say alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.console import note

if TYPE_CHECKING:
    from chemprop_hpo.hpo.promotion.decision import Decision
    from chemprop_hpo.storage.ledger import Reconciled

__all__ = ["Reason", "rule_lines", "say_settled"]

Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history.")
]

ADOPT = "take that over with: chemprop-hpo registry adopt"


def rule_lines(decision: Decision) -> Iterator[str]:
    """Yield a line for each rule, those that block first."""
    for rule in sorted(decision.rules, key=lambda rule: rule.passed):
        yield f"  {'passed ' if rule.passed else 'BLOCKED'}  {rule.text}"


def say_settled(found: Iterable[Reconciled]) -> None:
    """Tell on stderr what was left half done, and which aliases a hand has moved."""
    for one in found:
        note(one.said + (f"; {ADOPT}" if one.outcome == "moved_by_hand" else ""))
