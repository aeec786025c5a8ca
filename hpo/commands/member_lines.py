"""Say of a study which models of ensembles are trained, and which ensembles were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.lineage_lines import ago
from chemprop_hpo.hpo.commands.trial_tables import number

if TYPE_CHECKING:
    from chemprop_hpo.storage.ensembles import EnsembleRecord
    from chemprop_hpo.storage.members import MemberRecord

__all__ = ["ensemble_lines", "member_lines"]


def member_lines(members: Sequence[MemberRecord]) -> Iterator[str]:
    """Yield a line for all members, and one for each that runs or failed."""
    if not members:
        return
    tally = Counter(member.state for member in members)
    parts = (f"{tally[s]} {s}" for s in ("complete", "running", "waiting", "failed") if tally[s])
    yield f"{len(members)} models for ensembles: {', '.join(parts)}"
    for member in members:
        key = member.key
        name = f"trial {key.trial} split {key.split} fold {key.fold}"
        if member.state == "running":
            reached = f"epoch {member.epoch} of {member.max_epochs}"
            yield f"{name}: {reached}, best {number(member.value)}"
        if member.state == "failed":
            yield f"{name}: {member.reason}"


def ensemble_lines(made: Sequence[EnsembleRecord], now: float) -> Iterator[str]:
    """Yield a line for each folder of ensembles, with what was written there last."""
    last = {record.folder: record for record in made}
    for folder, record in last.items():
        trials = ", ".join(map(str, record.record.get("trials", {}).values()))
        yield f"{folder}: trials {trials}; made {ago(now - record.created.timestamp())}"
