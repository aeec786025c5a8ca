"""The ledger's rows and its lock: each step of a move by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import NoReturn, Self

from sqlalchemy import Engine

from chemprop_hpo.configs.errors import PromotionConflictError
from chemprop_hpo.configs.secrets import mask_text
from chemprop_hpo.storage.ledger.moves import (
    add_move,
    change_move,
    current_version,
    ledger_time,
    read_move,
    read_moves,
)
from chemprop_hpo.storage.ledger.opening import clear_errors
from chemprop_hpo.storage.ledger.records import (
    Intent,
    Move,
    RegisteredModel,
    State,
    say_time,
    say_version,
)
from chemprop_hpo.storage.locks import LockHeldError, exclusive
from chemprop_hpo.storage.outages import unless_away

__all__ = ["Book"]


class Book:
    """An open ledger, without the registry; it shows no password and is not pickled.

    Every method raises `StorageError` where the database cannot be reached.

    Attributes
    ----------
    masked_url : str
        The URL as it was given, with the password masked.
    """

    def __init__(self, engine: Engine, masked_url: str) -> None:
        self._engine = engine
        self.masked_url = masked_url

    # ------------------------------------------------------------------ read

    def current(self, model: RegisteredModel, alias: str) -> str | None:
        """Return the version that an alias has by the ledger; None if it is not set."""
        return current_version(self.history(model, alias))

    def history(self, model: RegisteredModel, alias: str | None = None) -> tuple[Move, ...]:
        """Return the moves of an alias, or of all, whatever became of them, the oldest first."""
        with self._clear():
            return read_moves(self._engine, model, alias)

    def unfinished(
        self, model: RegisteredModel | None = None, alias: str | None = None
    ) -> tuple[Move, ...]:
        """Return the moves that are under way, or that somebody left in the midst."""
        with self._clear():
            return read_moves(self._engine, model, alias, "intended")

    def now(self) -> datetime:
        """Return the time by the ledger's clock: the server's, or this machine's with SQLite."""
        with self._clear():
            return ledger_time(self._engine)

    # ------------------------------------------------------------------ write

    def intend(self, intent: Intent) -> Move:
        """Commit what is to be done.

        Raises
        ------
        PromotionConflictError
            By the ledger the alias is not ``expected`` or is being moved: who moved it or is at
            it, when, and which version it is now.
        UsageError
            The alias is ``version`` already.
        """
        with self._clear():
            return add_move(self._engine, intent)

    def keep(self, move: Move) -> None:
        """Say that this process is still at a move, before it writes the alias.

        Raises
        ------
        PromotionConflictError
            Another process has taken this one for dead and settled the move.
        """
        now = self.now().timestamp()
        with self._clear():
            if not change_move(self._engine, move, heard_at=now):
                raise _ended_meanwhile(read_move(self._engine, move.id))

    def settle(self, move: Move) -> Move:
        """Enter that a move was done, once or twice; errors as of `keep`."""
        return self._end(move, "done", None)

    def abandon(self, move: Move, note: str) -> Move:
        """Enter that nothing was moved, once or twice; errors as of `keep`."""
        return self._end(move, "abandoned", note)

    def refuse(self, move: Move, note: str) -> Move:
        """Enter that the alias was elsewhere than expected, once or twice; errors as of `keep`."""
        return self._end(move, "refused", note)

    def let_go(self, move: Move) -> None:
        """Leave a move to whoever comes next: what became of it is not known here."""
        with self._clear():
            change_move(self._engine, move, pid=None)

    # ------------------------------------------------------------------ hold and close

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the ledger's lock, which goes with this process.

        Raises
        ------
        PromotionConflictError
            Another process is at a move for a minute; who it is.
        """
        lock = exclusive(self._engine, "ledger")
        try:
            with self._clear():
                lock.__enter__()
        except LockHeldError:
            self._tell_who_is_at_it()
            raise
        try:
            yield
        finally:
            with unless_away():  # then the lock is gone as well
                lock.__exit__(None, None, None)

    def close(self) -> None:
        """Close all connections of this process."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.masked_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not pickled: its URL may hold a password")

    # ------------------------------------------------------------------ inside

    def _end(self, move: Move, state: State, note: str | None) -> Move:
        now, text = self.now().timestamp(), None if note is None else mask_text(note)
        with self._clear():
            change_move(self._engine, move, state=state, settled_at=now, note=text)
            ended = read_move(self._engine, move.id)
        if ended.state != state:
            raise _ended_meanwhile(ended)
        return ended

    def _tell_who_is_at_it(self) -> None:
        now = self.now()
        for move in self.unfinished():
            if move.is_under_way(now):
                raise PromotionConflictError(
                    f"{move.what} is being moved to {say_version(move.version)} by {move.actor} "
                    f"since {say_time(move)}, and this move has waited for it; try again when that "
                    "is done"
                ) from None

    @contextmanager
    def _clear(self) -> Iterator[None]:
        with clear_errors(self._engine.url, self.masked_url):
            yield


def _ended_meanwhile(move: Move) -> PromotionConflictError:
    return PromotionConflictError(
        f"the move of {move.what} to {say_version(move.version)} was {move.state} by another "
        f"process at {say_time(move)}, since this one was away: {move.note or 'no note'}"
    )
