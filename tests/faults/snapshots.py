"""Read a whole study at one moment, as the database has it: no rule is applied here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import claimed_slots, live_drivers
from chemprop_hpo.storage.studies import open_study, read_record
from chemprop_hpo.storage.tables import continuations

__all__ = ["Link", "Snapshot", "read_snapshot"]

FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Link:
    """One trial: alone, or a link of a chain of continuations."""

    number: int
    state: str
    value: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    best: Mapping[int, float] = field(default_factory=dict)
    """The running best by epoch."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    """All that is kept about the trial, in one form: equal texts are equal bytes."""

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def continues(self) -> int | None:
        number: int | None = self.attributes.get("continues")
        return number

    @property
    def continued_by(self) -> int | None:
        number: int | None = self.attributes.get("continued_by")
        return number

    @property
    def reason(self) -> str | None:
        reason: str | None = self.attributes.get("stop_reason")
        return reason

    @property
    def was_withdrawn(self) -> bool:
        """Whether it is a successor that was taken back before it ran."""
        return (
            self.state == "FAIL"
            and not self.best
            and str(self.attributes.get("error", "")).startswith("withdrawn")
        )


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment."""

    num_samples: int
    max_epochs: int
    links: tuple[Link, ...]
    slots: tuple[int, ...]
    """The slots that are claimed."""
    continued: tuple[tuple[int, int | None], ...] = ()
    """Who is continued by whom, from the table."""
    live: frozenset[str] = frozenset()
    """Drivers that live."""

    @property
    def finished(self) -> dict[int, str]:
        """The finished trials by number, each with all that is kept about it."""
        return {link.number: link.text for link in self.links if link.is_finished}


def read_snapshot(url: str, study: str) -> Snapshot | None:
    """Return a study as it is now; None where the database or the study cannot be read now."""
    try:
        with open_database(url, create=False) as db:
            return _read(db, study)
    except (StorageError, UnknownStudyError, StorageInternalError, SQLAlchemyError):
        return None


def _read(db: Database, name: str) -> Snapshot:
    study = open_study(db, name)
    config = read_record(study).config
    study_id = db.study_id(study)
    # Drivers first: one that dies meanwhile still owns what it is seen to own.
    live = frozenset(row.id for row in live_drivers(db, study))
    rows = select(continuations).where(continuations.c.study_id == study_id)
    trials = study.get_trials(deepcopy=False)
    with db.engine.connect() as connection:
        continued = [(r.continues, r.continued_by) for r in connection.execute(rows)]
    return Snapshot(
        num_samples=config["num_samples"],
        max_epochs=config["scheduler"]["max_t"],
        links=tuple(_link(trial) for trial in trials),
        slots=tuple(claimed_slots(db, study_id)),
        continued=tuple(sorted(continued)),
        live=live,
    )


def _link(trial: FrozenTrial) -> Link:
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return Link(
        trial.number,
        trial.state.name,
        value,
        trial.params,
        trial.intermediate_values,
        trial.user_attrs,
        _text(trial),
    )


def _text(trial: FrozenTrial) -> str:
    kept = {
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "intermediate": sorted(trial.intermediate_values.items()),
        "attributes": trial.user_attrs,
        "system": trial.system_attrs,
        "times": [str(trial.datetime_start), str(trial.datetime_complete)],
    }
    return json.dumps(kept, sort_keys=True, default=str)  # a float's text gives all its bits
