"""Create, open, list and delete studies."""

from __future__ import annotations

import difflib

import optuna
from optuna import Study
from sqlalchemy import delete, insert, select

from chemprop_hpo.configs.errors import StudyMismatchError, UnknownStudyError, UsageError
from chemprop_hpo.storage.changes import accepted_changes
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import live_drivers
from chemprop_hpo.storage.mismatch import differences
from chemprop_hpo.storage.records import (
    StudyRecord,
    as_stored,
    read_record,
    record_of,
    write_record,
)
from chemprop_hpo.storage.summaries import StudySummary, latest_study, list_studies
from chemprop_hpo.storage.tables import pending

__all__ = [
    "Study",
    "StudyRecord",
    "StudySummary",
    "delete_study",
    "latest_study",
    "list_studies",
    "open_or_create_study",
    "open_study",
    "read_record",
    "refuse_mismatch",
    "study_exists",
]

_MAX_NAME_LENGTH = 512


def open_or_create_study(
    db: Database, name: str, record: StudyRecord, *, accept_changed_data: bool = False
) -> tuple[optuna.Study, bool]:
    """Open the study ``name``, or create it with its record.

    Of several processes that do so at once, one creates it. No process ever sees it half made.
    An existing study takes over the new configuration, space and folder, and remembers in its
    user attribute ``changes`` what has changed and when.

    Parameters
    ----------
    db : Database
        Where the study is, or will be.
    name : str
        The study's.
    record : StudyRecord
        What it says about itself from now on.
    accept_changed_data : bool
        Go on although data files have other contents.

    Returns
    -------
    study : optuna.Study
        With Optuna's default sampler.
    created : bool
        Whether this call created it.

    Raises
    ------
    StudyMismatchError
        The study holds another metric, direction or data, or choices that cannot change.
    """
    _refuse_name(name)
    with db.exclusive():
        study = _find(db, name)
        if study is None:
            return _create(db, name, record), True
        _refuse_mismatch(db, study, record, accept_changed_data)
        _take_over(db, study, record)
        return study, False


def open_study(db: Database, name: str) -> optuna.Study:
    """Open an existing study.

    Raises
    ------
    UnknownStudyError
        There is none of that name, or another program made it.
    """
    study = _find(db, name)
    if study is None:
        raise UnknownStudyError(_unknown_text(db, name))
    read_record(study)
    return study


def study_exists(db: Database, name: str) -> bool:
    """Whether the database holds a study of that name."""
    return _find(db, name) is not None


def refuse_mismatch(
    db: Database, name: str, record: StudyRecord, *, accept_changed_data: bool = False
) -> None:
    """Refuse to go on with an existing study that ``record`` does not fit.

    Raises
    ------
    StudyMismatchError
        The study holds another metric, direction or data, or choices that cannot change.
    """
    if (study := _find(db, name)) is not None:
        _refuse_mismatch(db, study, record, accept_changed_data)


def delete_study(db: Database, name: str) -> None:
    """Delete a study, its trials and everything kept about its drivers; files stay.

    Raises
    ------
    UnknownStudyError
        There is none of that name, or another program made it.
    UsageError
        A driver works on it.
    """
    with db.exclusive():
        study = open_study(db, name)
        _refuse_live(db, study)
        db.storage.delete_study(db.study_id(study))


# ----------------------------------------------------------------------------- find


def _find(db: Database, name: str) -> optuna.Study | None:
    """Return the study, unless it is missing or only half made."""
    study = _load(db, name)
    if study is not None and record_of(study) is None and name in _pending(db):
        return None
    return study


def _load(db: Database, name: str) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=db.storage)
    except KeyError:
        return None


def _pending(db: Database) -> set[str]:
    with db.engine.connect() as connection:
        return set(connection.execute(select(pending.c.study_name)).scalars())


def _unknown_text(db: Database, name: str) -> str:
    names = {known.casefold(): known for known in optuna.get_all_study_names(db.storage)}
    near = [names[n] for n in difflib.get_close_matches(name.casefold(), names, n=1)]
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"no study '{name}' in {db.masked_url}{hint or ';'} list them with: chemprop-hpo studies"


# ----------------------------------------------------------------------------- create, delete


def _create(db: Database, name: str, record: StudyRecord) -> optuna.Study:
    """Create a study in steps; until the last of them its name is pending, and it is unseen."""
    _remove_half_made(db, name)
    with db.engine.begin() as connection:
        connection.execute(insert(pending).values(study_name=name))
    study = optuna.create_study(
        storage=db.storage,
        study_name=name,
        direction="minimize" if record.mode == "min" else "maximize",
    )
    # Optuna's own commands leave them behind, and its numbers are used again.
    db.storage.forget_study(db.study_id(study))
    write_record(db, study, record, created=db.now())
    _clear_pending(db, name)
    return study


def _take_over(db: Database, study: optuna.Study, record: StudyRecord) -> None:
    lines = accepted_changes(read_record(study), as_stored(record))
    before = study.user_attrs.get("changes", [])
    now = [{"at": db.now(), "what": lines}] if lines else []
    write_record(db, study, record, changes=[*before, *now])


def _remove_half_made(db: Database, name: str) -> None:
    if name in _pending(db):
        study = _load(db, name)
        if study is not None:
            db.storage.delete_study(db.study_id(study))
        _clear_pending(db, name)


def _clear_pending(db: Database, name: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(delete(pending).where(pending.c.study_name == name))


# ----------------------------------------------------------------------------- refuse


def _refuse_name(name: str) -> None:
    if not name.strip() or len(name) > _MAX_NAME_LENGTH:
        raise UsageError(
            f"a study's name has 1 to {_MAX_NAME_LENGTH} characters, not {len(name)}; "
            "choose one with --study"
        )


def _refuse_mismatch(
    db: Database, study: optuna.Study, record: StudyRecord, accept_changed_data: bool
) -> None:
    """Refuse to go on with a study that ``record`` does not fit."""
    where = f"study '{study.study_name}' in {db.masked_url}"
    stored = record_of(study)
    if stored is None:
        raise StudyMismatchError(
            f"{where} was made by another program; choose another name with --study NAME"
        )
    found = differences(stored, record, accept_changed_data=accept_changed_data)
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise StudyMismatchError(
            f"{where} cannot go on with this configuration:\n{lines}\n{_advice(found)}"
        )


def _advice(found: list[str]) -> str:
    if all(line.startswith("data ") for line in found):
        return (
            "put that right, go on with the data as they are now with --accept-changed-data, "
            "or begin a new one: chemprop-hpo sweep FILE --study NAME"
        )
    return "put that right, or begin a new one: chemprop-hpo sweep FILE --study NAME"


def _refuse_live(db: Database, study: optuna.Study) -> None:
    for row in live_drivers(db, study):
        raise UsageError(
            f"study '{study.study_name}' is being worked on by process {row.pid} on {row.host}; "
            "stop it first"
        )
