"""Which model of an ensemble is trained by whom, how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from sqlalchemy import RowMapping, Update, insert, update
from sqlalchemy.orm import Session

from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import Roster
from chemprop_hpo.storage.member_records import (
    MemberKey,
    MemberRecord,
    NewMember,
    key_of,
    read_member,
    read_members,
    rows_of,
)
from chemprop_hpo.storage.tables import members

__all__ = [
    "MAX_DEATHS",
    "MemberKey",
    "MemberRecord",
    "MemberTakenError",
    "NewMember",
    "add_members",
    "claim_member",
    "end_member",
    "read_members",
    "release_member",
    "restart_member",
    "write_epoch",
]

MAX_DEATHS = 3
"""How often a member whose worker or driver died is tried again without a new epoch."""


class MemberTakenError(UpdateFinishedTrialError):
    """A member that another driver has taken over: this one was found asleep.

    As Optuna says it of a trial, so that whoever writes either takes it the same way.
    """


def add_members(
    db: Database, study: optuna.Study, wanted: Sequence[NewMember]
) -> list[MemberRecord]:
    """Remember members that are to be trained, and return them as they stand.

    Those that are known stay as they are, unless they were trained with another seed or for
    another number of epochs: they begin anew.

    Parameters
    ----------
    db, study : Database, optuna.Study
        Where they belong.
    wanted : sequence of NewMember
        In the order in which they are to be trained.
    """
    db.upgrade()
    study_id = db.study_id(study)
    with db.storage.transaction() as session:
        db.storage.hold_study(session, study_id)
        known = {key_of(row): row for row in session.execute(rows_of(study_id)).mappings()}
        for member in wanted:
            _add(session, study_id, member, known.get(member.key))
    return read_members(db, study, [member.key for member in wanted])


def claim_member(
    db: Database,
    study: optuna.Study,
    driver_id: str,
    keys: Sequence[MemberKey],
    held: Collection[int] = (),
) -> MemberRecord | None:
    """Claim the first member that waits or whose driver is dead; None if there is none.

    No two drivers ever get the same one. A member whose drivers and workers died `MAX_DEATHS`
    times without a new epoch fails here, and is passed over.

    Parameters
    ----------
    db, study : Database, optuna.Study
        Where the members are.
    driver_id : str
        Who claims.
    keys : sequence of MemberKey
        Which members, the first ones first.
    held : collection of int
        Ids of those that this driver trains. One that is its own and not among them is
        returned as well: the answer to that claim was lost with the connection.
    """
    found = read_members(db, study, keys)
    # After the members: whoever has claimed one is among the drivers by now.
    roster = Roster.of(db, study)
    for member in found:
        if not _is_free(member, driver_id, held, roster):
            continue
        is_orphan = member.state == "running" and member.driver_id != driver_id
        deaths = member.retries + is_orphan
        if deaths > MAX_DEATHS:
            _give_up(db, member, deaths)
        elif _swap(db, member, _claimed(db, member, driver_id, deaths)):
            return read_member(db, member.id)
    return None


def write_epoch(
    db: Database,
    member_id: int,
    driver_id: str,
    *,
    epoch: int,
    best_epoch: int | None,
    value: float | None,
    curve: Sequence[float | None],
    retries: int = 0,
) -> None:
    """Write how far a running member is.

    Raises
    ------
    MemberTakenError
        It is no longer this driver's.
    """
    values = {
        "epoch": epoch,
        "best_epoch": best_epoch,
        "value": value,
        "curve": list(curve),
        "retries": retries,
    }
    if not _write(db, _held_by(member_id, driver_id).values(values)):
        raise _taken(member_id)


def end_member(
    db: Database,
    member_id: int,
    driver_id: str,
    state: str,
    *,
    stop_reason: str,
    metrics: Mapping[str, float],
    error: str | None = None,
) -> None:
    """End a running member as ``complete`` or ``failed``.

    A second call, after an answer that was lost, does nothing.

    Raises
    ------
    MemberTakenError
        It is no longer this driver's.
    """
    values = {
        "state": state,
        "stop_reason": stop_reason,
        "metrics": dict(metrics),
        "error": error,
        "ended_at": db.now(),
    }
    if _write(db, _held_by(member_id, driver_id).values(values)):
        return
    now = read_member(db, member_id)
    if now is None or (now.driver_id, now.state) != (driver_id, state):
        raise _taken(member_id)


def release_member(db: Database, member_id: int, driver_id: str, stop_reason: str) -> bool:
    """Let a running member wait for whoever goes on with it; False if it is another's by now.

    Deaths before are forgotten: one that can be stopped in order kills nobody.
    """
    waiting = {"state": "waiting", "driver_id": None, "stop_reason": stop_reason, "retries": 0}
    return _write(db, _held_by(member_id, driver_id).values(waiting))


def restart_member(db: Database, member: MemberRecord, *, anew: bool) -> bool:
    """Let an ended member wait to be trained once more, and return whether it does.

    Parameters
    ----------
    db : Database
        Where it is.
    member : MemberRecord
        As it was read: one that has changed since is left alone.
    anew : bool
        Forget the epochs that are known of it.
    """
    kept = set() if anew else {"epoch", "best_epoch", "value", "curve", "started_at"}
    return _swap(db, member, {name: v for name, v in _BLANK.items() if name not in kept})


# ----------------------------------------------------------------------------- steps


def _add(session: Session, study_id: int, member: NewMember, row: RowMapping | None) -> None:
    anew = asdict(member) | _BLANK
    anew |= anew.pop("key")._asdict()
    if row is None:
        session.execute(insert(members).values(study_id=study_id, **anew))
    elif (row["seed"], row["max_epochs"]) != (member.seed, member.max_epochs):
        session.execute(update(members).where(members.c.id == row["id"]).values(anew))


_BLANK: dict[str, Any] = {
    "state": "waiting",
    "driver_id": None,
    "epoch": 0,
    "best_epoch": None,
    "value": None,
    "curve": [],
    "metrics": {},
    "stop_reason": None,
    "error": None,
    "retries": 0,
    "started_at": None,
    "ended_at": None,
}


def _is_free(member: MemberRecord, driver_id: str, held: Collection[int], roster: Roster) -> bool:
    if member.state != "running" or member.driver_id is None:
        return member.state == "waiting"
    if member.driver_id == driver_id:
        return member.id not in held
    return roster.is_gone(member.driver_id)


def _claimed(db: Database, member: MemberRecord, driver_id: str, deaths: int) -> dict[str, Any]:
    started = db.now() if member.started is None else member.started.timestamp()
    return {
        "state": "running",
        "driver_id": driver_id,
        "retries": deaths,
        "stop_reason": None,
        "error": None,
        "started_at": started,
    }


def _give_up(db: Database, member: MemberRecord, deaths: int) -> None:
    text = f"given up: its driver or worker died {deaths} times before another epoch was trained"
    failed = {"state": "failed", "stop_reason": "error", "error": text, "ended_at": db.now()}
    _swap(db, member, failed)


def _swap(db: Database, member: MemberRecord, values: Mapping[str, Any]) -> bool:
    """Change a member if it still is as it was read: in that state, and that driver's."""
    is_same = (
        (members.c.id == member.id)
        & (members.c.state == member.state)
        & members.c.driver_id.is_not_distinct_from(member.driver_id)
    )
    return _write(db, update(members).where(is_same).values(dict(values)))


def _held_by(member_id: int, driver_id: str) -> Update:
    return update(members).where(
        members.c.id == member_id,
        members.c.driver_id == driver_id,
        members.c.state == "running",
    )


def _write(db: Database, statement: Update) -> bool:
    with db.engine.begin() as connection:
        return connection.execute(statement).rowcount == 1


def _taken(member_id: int) -> MemberTakenError:
    return MemberTakenError(f"the member with id {member_id} is another driver's by now")
