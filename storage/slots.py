"""Share out the budget of a study: each trial, with its continuations, takes one slot."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

import optuna
from optuna.trial import TrialState
from sqlalchemy import String, cast, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import Roster
from chemprop_hpo.storage.tables import optuna_trials, slots

__all__ = [
    "claim_slot",
    "claimed_slots",
    "has_all_trials",
    "may_have_all_trials",
    "release_stale_slots",
]


def has_all_trials(study: optuna.Study, total: int) -> bool:
    """Whether each slot of a study's budget has a trial, and each trial has ended."""
    trials = study.get_trials(deepcopy=False)
    budget = set(range(total))
    used = {trial.user_attrs.get("slot") for trial in trials}
    unfinished = {t.user_attrs.get("slot", 0) for t in trials if not t.state.is_finished()}
    return not (budget - used or budget & unfinished)


def may_have_all_trials(db: Database, study_id: int, total: int) -> bool:
    """Whether all slots are claimed and no trial is running or waiting; reads no trial.

    A slot may be claimed and have no trial, where a driver was killed.
    """
    claims = select(func.count()).where(slots.c.study_id == study_id, slots.c.slot < total)
    # As text: PostgreSQL has a type of its own for a trial's state.
    state = cast(optuna_trials.c.state, String)
    is_open = state.in_((TrialState.RUNNING.name, TrialState.WAITING.name))
    open_trials = select(func.count()).where(optuna_trials.c.study_id == study_id, is_open)
    with db.engine.connect() as connection:
        if connection.execute(claims).scalar_one() < total:
            return False
        return connection.execute(open_trials).scalar_one() == 0


def claim_slot(
    db: Database,
    study_id: int,
    driver_id: str,
    total: int,
    used: Collection[int] = (),
    *,
    none_lost: bool = False,
) -> int | None:
    """Claim the lowest free slot below ``total`` for a driver, or return None if all are taken.

    No two drivers ever get the same one.

    Parameters
    ----------
    db : Database
        Where the study is.
    study_id : int
        The study.
    driver_id : str
        Who claims.
    total : int
        The study's budget.
    used : collection of int
        The slots with which this driver has begun trials. One that it claimed and that is not
        among them is returned first: the answer to that claim was lost with the connection.
    none_lost : bool
        No answer to a claim of this driver was lost, so that none is looked for. In a large
        study that saves reading every claim.
    """
    while none_lost and (following := _next_in_line(db, study_id)) is not None:
        if following >= total:
            return None
        if _insert(db, study_id, driver_id, following):
            return following
    while True:
        claims = claimed_slots(db, study_id)
        slot = _forgotten(claims, driver_id, total, used)
        if slot is not None:
            return slot
        slot = _lowest_free(claims, total)
        if slot is None or _insert(db, study_id, driver_id, slot):
            return slot


def claimed_slots(db: Database, study_id: int) -> dict[int, str]:
    """Return the claimed slots in order, each with the id of the driver that claimed it."""
    query = select(slots.c.slot, slots.c.driver_id).where(slots.c.study_id == study_id)
    with db.engine.connect() as connection:
        rows = connection.execute(query.order_by(slots.c.slot))
        return {row.slot: row.driver_id for row in rows}


def release_stale_slots(db: Database, study: optuna.Study) -> list[int]:
    """Give back the slots that dead drivers claimed and no trial refers to; return them."""
    study_id = db.study_id(study)
    claims = claimed_slots(db, study_id)
    # After the claims: whoever has made one is among the drivers by now.
    roster = Roster.of(db, study)
    gone = {slot: owner for slot, owner in claims.items() if roster.is_gone(owner)}
    used = {trial.user_attrs.get("slot") for trial in study.get_trials(deepcopy=False)}
    stale = [slot for slot in gone if slot not in used]
    return [slot for slot in stale if _release_unused(db, study_id, slot, gone[slot])]


def _next_in_line(db: Database, study_id: int) -> int | None:
    """Return the slot after the last one claimed; None where one before it is free."""
    claimed = select(func.count(), func.max(slots.c.slot)).where(slots.c.study_id == study_id)
    with db.engine.connect() as connection:
        count, last = connection.execute(claimed).one()
    return int(count) if count == (0 if last is None else last + 1) else None


def _forgotten(
    claims: Mapping[int, str], driver_id: str, total: int, used: Collection[int]
) -> int | None:
    mine = (slot for slot, owner in claims.items() if owner == driver_id and slot < total)
    return next((slot for slot in mine if slot not in used), None)


def _lowest_free(taken: Container[int], total: int) -> int | None:
    return next((slot for slot in range(total) if slot not in taken), None)


def _insert(db: Database, study_id: int, driver_id: str, slot: int) -> bool:
    row = insert(slots).values(study_id=study_id, slot=slot, driver_id=driver_id)
    try:
        with db.engine.begin() as connection:
            connection.execute(row)
    except IntegrityError:
        return False
    return True


def _release_unused(db: Database, study_id: int, slot: int, driver_id: str) -> bool:
    """Delete one claim, unless its driver woke up and began a trial, or another has it by now."""
    claim = (
        (slots.c.study_id == study_id) & (slots.c.slot == slot) & (slots.c.driver_id == driver_id)
    )
    with db.storage.transaction() as session:
        if session.scalar(select(slots.c.id).where(claim).with_for_update()) is None:
            return False
        if db.storage.has_trial_in_slot(session, study_id, slot):
            return False
        session.execute(delete(slots).where(claim))
        return True
