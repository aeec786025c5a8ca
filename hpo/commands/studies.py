"""``studies``: what a storage holds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.opening import existing_database
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl

if TYPE_CHECKING:
    from chemprop_hpo.storage.studies import StudySummary

HELP = """\
List the studies of a storage, the most recent last.

\b
Examples:
  chemprop-hpo studies
  chemprop-hpo studies --storage sqlite:///old.db
"""

COLUMNS = ("study", "metric", "best", "complete", "stopped early", "failed", "running", "total")
STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING")


def studies(storage: StorageUrl = DEFAULT_STORAGE, debug: Debug = False) -> None:
    """Print a line a study."""
    from chemprop_hpo.hpo.commands.trial_tables import plain_table
    from chemprop_hpo.storage.studies import list_studies

    with existing_database(storage) as database:
        found, place = list_studies(database), database.masked_url
    if not found:
        note(f"no study in {place}; start one with: chemprop-hpo sweep FILE")
        return
    table = plain_table(*COLUMNS, "last activity")
    table.columns[0].justify = table.columns[1].justify = "left"
    table.columns[0].overflow = "fold"
    for summary in found:
        table.add_row(*_cells(summary))
    say(f"studies in {place}")
    say(table)


def _cells(summary: StudySummary) -> list[str]:
    from chemprop_hpo.hpo.commands.trial_tables import number

    name = f"{summary.name} (another program's)" if summary.foreign else summary.name
    counts = [str(summary.counts.get(state, 0)) for state in STATES]
    total = "" if summary.num_samples is None else str(summary.num_samples)
    last = _local(summary.last_active or summary.created)
    return [name, summary.metric or "", number(summary.best), *counts, total, last]


def _local(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"
