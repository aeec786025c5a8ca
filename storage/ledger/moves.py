"""Write and read the moves of aliases: each write is a compare-and-swap, and no row goes away."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, insert, select, update
from sqlalchemy.exc import IntegrityError

from chemprop_hpo.configs.errors import PromotionConflictError, UsageError
from chemprop_hpo.storage.engines import database_time
from chemprop_hpo.storage.ledger.records import (
    Intent,
    Kind,
    Move,
    RegisteredModel,
    State,
    say_time,
    say_version,
)
from chemprop_hpo.storage.ledger.tables import moves
from chemprop_hpo.storage.processes import Process, this_process

__all__ = ["add_move", "change_move", "current_version", "ledger_time", "read_move", "read_moves"]

_TRIES = 5
_DONE: dict[Kind, str] = {
    "candidate": "made candidate",
    "promote": "promoted",
    "rollback": "rolled back",
    "adopt": "adopted",
}


def add_move(engine: Engine, intent: Intent) -> Move:
    """Enter a move as intended, unless the alias has moved or is being moved.

    Raises
    ------
    PromotionConflictError
        With who moved it or is at it, when, and which version it is now.
    UsageError
        The alias is that version already.
    """
    for _ in range(_TRIES):
        now = ledger_time(engine)
        try:
            with engine.begin() as connection:
                before = _moves_of(connection, intent.model, intent.alias)
                _refuse(intent, before, now)
                connection.execute(insert(moves).values(_row(intent, len(before) + 1, now)))
                move = _moves_of(connection, intent.model, intent.alias)[-1]
        except IntegrityError:
            continue  # another was quicker: look again who it was
        return move
    raise PromotionConflictError(f"{intent.what} is moved by others all the time; try again")


def change_move(engine: Engine, move: Move, **values: Any) -> bool:
    """Change an unfinished move, and return whether it still was unfinished."""
    unfinished = (moves.c.id == move.id) & (moves.c.state == "intended")
    with engine.begin() as connection:
        return connection.execute(update(moves).where(unfinished).values(values)).rowcount == 1


def read_move(engine: Engine, move_id: int) -> Move:
    """Return the move with that id."""
    with engine.connect() as connection:
        query = select(moves).where(moves.c.id == move_id)
        return _move(connection.execute(query).mappings().one())


def read_moves(
    engine: Engine,
    model: RegisteredModel | None = None,
    alias: str | None = None,
    state: State | None = None,
) -> tuple[Move, ...]:
    """Return the moves of a model, an alias and a state, or of all of them, the oldest first."""
    with engine.connect() as connection:
        return _moves_of(connection, model, alias, state)


def current_version(history: tuple[Move, ...]) -> str | None:
    """Return the version of an alias after its moves; None if it is not set."""
    last = _last_done(history)
    return None if last is None else last.version


def ledger_time(engine: Engine) -> datetime:
    """Return the time by the ledger's clock."""
    return datetime.fromtimestamp(database_time(engine), UTC)


# ----------------------------------------------------------------------------- what is refused


def _refuse(intent: Intent, before: tuple[Move, ...], now: datetime) -> None:
    for move in before:
        if move.state == "intended":
            raise PromotionConflictError(_unfinished(move, now))
    last = _last_done(before)
    if (None if last is None else last.version) != intent.expected:
        raise PromotionConflictError(_moved(intent, last))
    if intent.version == intent.expected:
        version = say_version(intent.version)
        raise UsageError(f"{intent.what} is {version} already; nothing is moved")


def _unfinished(move: Move, now: datetime) -> str:
    text = f"{move.what} is being moved to {say_version(move.version)} by {move.actor} since "
    if move.is_under_way(now):
        return f"{text}{say_time(move)}; try again when that is done"
    return f"{text}{say_time(move)}, who left it unfinished; see: chemprop-hpo registry status"


def _moved(intent: Intent, last: Move | None) -> str:
    decided = f"the decision was made while it was {say_version(intent.expected)}"
    if last is None:
        return (
            f"the ledger knows of no move of {intent.what}, and {decided}, so it was set by hand; "
            "see: chemprop-hpo registry status"
        )
    return (
        f"{intent.what} is {say_version(last.version)} by now, {_DONE[last.kind]} by {last.actor} "
        f"at {say_time(last)} ({last.reason}); {decided}: decide again"
    )


def _last_done(history: tuple[Move, ...]) -> Move | None:
    return next((move for move in reversed(history) if move.state == "done"), None)


# ----------------------------------------------------------------------------- rows


def _moves_of(
    connection: Connection,
    model: RegisteredModel | None,
    alias: str | None,
    state: State | None = None,
) -> tuple[Move, ...]:
    query: Select[Any] = select(moves).order_by(moves.c.id)
    if model is not None:
        query = query.where(moves.c.registry == model.registry, moves.c.model == model.name)
    if alias is not None:
        query = query.where(moves.c.alias == alias)
    if state is not None:
        query = query.where(moves.c.state == state)
    return tuple(_move(row) for row in connection.execute(query).mappings())


def _row(intent: Intent, number: int, now: datetime) -> dict[str, Any]:
    return {
        **asdict(intent),
        "registry": intent.model.registry,
        "model": intent.model.name,
        "number": number,
        "state": "intended",
        "intended_at": now.timestamp(),
        "heard_at": now.timestamp(),
        **this_process()._asdict(),
    }


def _move(row: RowMapping) -> Move:
    return Move(
        id=row["id"],
        model=RegisteredModel(row["registry"], row["model"]),
        alias=row["alias"],
        number=row["number"],
        expected=row["expected"],
        version=row["version"],
        kind=row["kind"],
        reason=row["reason"],
        decision=row["decision"],
        actor=row["actor"],
        state=row["state"],
        intended_at=datetime.fromtimestamp(row["intended_at"], UTC),
        settled_at=_utc(row["settled_at"]),
        note=row["note"],
        owner=_owner(row),
        heard_at=datetime.fromtimestamp(row["heard_at"], UTC),
    )


def _owner(row: RowMapping) -> Process | None:
    if row["pid"] is None:
        return None
    return Process(row["host"], row["boot_id"], row["pid"], row["pid_started"])


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
