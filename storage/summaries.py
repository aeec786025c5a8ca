"""List the studies of a database without loading their trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import optuna
from sqlalchemy import func, select

from chemprop_hpo.configs.errors import UnknownStudyError
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.records import StudyRecord, is_newer, record_of
from chemprop_hpo.storage.tables import continuations, drivers, optuna_trials, pending

__all__ = ["StudySummary", "latest_study", "list_studies"]


@dataclass(frozen=True)
class StudySummary:
    """One line of the list of studies; times are in UTC."""

    name: str
    foreign: bool
    """Made by another program: only its name and counts are known, as of a study that was
    written by a newer version of this one."""
    created: datetime | None = None
    metric: str | None = None
    mode: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """Trials by the name of their state; states without a trial are left out. One that another
    goes on with is not among the failed ones: the two are one piece of work."""
    best: float | None = None
    num_samples: int | None = None
    last_active: datetime | None = None


def list_studies(db: Database) -> list[StudySummary]:
    """Return all studies of the database, the most recently active last."""
    activity = _read_activity(db)
    summaries = [
        _summary(db, study, activity.get(db.study_id(study), _Activity()))
        for study in _finished_studies(db)
    ]
    return sorted(summaries, key=_last_sign)


def latest_study(db: Database) -> str:
    """Return the name of the study in which something happened last.

    Raises
    ------
    UnknownStudyError
        The database holds no study of this program.
    """
    ours = [summary for summary in list_studies(db) if not summary.foreign]
    if not ours:
        raise UnknownStudyError(
            f"no study in {db.masked_url}; start one with: chemprop-hpo sweep FILE"
        )
    return ours[-1].name


@dataclass
class _Activity:
    """What happened in a study: its trials by state, and the last sign of life."""

    counts: dict[str, int] = field(default_factory=dict)
    last: datetime | None = None

    def handed_on(self, count: int) -> None:
        failed = self.counts.pop("FAIL", 0) - count
        if failed > 0:
            self.counts["FAIL"] = failed

    def saw(self, moment: datetime | None) -> None:
        if moment is not None and (self.last is None or moment > self.last):
            self.last = moment


def _read_activity(db: Database) -> dict[int, _Activity]:
    trials = optuna_trials.c
    moment = func.max(func.coalesce(trials.datetime_complete, trials.datetime_start))
    by_state = select(trials.study_id, trials.state, func.count(), moment)
    handed_on = select(continuations.c.study_id, func.count(continuations.c.continued_by))
    beats = select(drivers.c.study_id, func.max(drivers.c.beat_at)).group_by(drivers.c.study_id)
    found: dict[int, _Activity] = defaultdict(_Activity)
    with db.engine.connect() as connection:
        grouped = by_state.group_by(trials.study_id, trials.state)
        for study_id, state, count, last in connection.execute(grouped):
            found[study_id].counts[state] = count
            found[study_id].saw(None if last is None else last.replace(tzinfo=UTC))
        for study_id, count in connection.execute(handed_on.group_by(continuations.c.study_id)):
            found[study_id].handed_on(count)
        for study_id, beat in connection.execute(beats):
            found[study_id].saw(datetime.fromtimestamp(beat, UTC))
    return found


def _finished_studies(db: Database) -> Iterator[optuna.Study]:
    """Yield the studies that are not just being created."""
    for name in optuna.get_all_study_names(db.storage):
        try:
            study = optuna.load_study(study_name=name, storage=db.storage)
        except KeyError:  # deleted just now
            continue
        if _is_whole(study) or not _is_pending(db, name):
            yield study


def _is_whole(study: optuna.Study) -> bool:
    return is_newer(study.user_attrs) or record_of(study) is not None


def _is_pending(db: Database, name: str) -> bool:
    query = select(pending.c.study_name).where(pending.c.study_name == name)
    with db.engine.connect() as connection:
        return connection.execute(query).first() is not None


def _summary(db: Database, study: optuna.Study, activity: _Activity) -> StudySummary:
    # Read once more: a study that was pending above may be complete by now.
    attributes = study.user_attrs
    record = None if (newer := is_newer(attributes)) else record_of(study)
    if record is None:
        return StudySummary(
            study.study_name, not newer, counts=activity.counts, last_active=activity.last
        )
    return StudySummary(
        name=study.study_name,
        foreign=False,
        created=datetime.fromtimestamp(attributes["created"], UTC),
        metric=record.metric,
        mode=record.mode,
        counts=activity.counts,
        best=_best_value(db, study, activity),
        num_samples=_num_samples(record),
        last_active=activity.last,
    )


def _best_value(db: Database, study: optuna.Study, activity: _Activity) -> float | None:
    if not activity.counts.get("COMPLETE"):
        return None
    return db.storage.get_best_trial(db.study_id(study)).value


def _num_samples(record: StudyRecord) -> int | None:
    number = record.config.get("num_samples")
    return number if isinstance(number, int) else None


def _last_sign(summary: StudySummary) -> datetime:
    return summary.last_active or summary.created or datetime.min.replace(tzinfo=UTC)
