"""Move the aliases of a registry so that two never both win, and every move is remembered.

MLflow's aliases have no history and no compare-and-swap: of two that promote at once both are told
that they won. So whoever moves one does it here, with `Ledger.move`, in this order:

1. hold the ledger's lock, which goes with the process that holds it;
2. settle what others left unfinished, by what the registry shows;
3. commit the intent, if by the ledger the alias still is what the decision was made on;
4. read the alias again: what a hand has moved in the registry is refused, not overwritten;
5. see that the intent still stands, then write the alias;
6. read it back, and settle the move by what is there.

A process may die between any two of these. Before 5 the alias is as it was, and whoever comes next
enters the move as abandoned; after it the alias has moved, and the move is entered as done. No row
is ever deleted. The ledger is not kept in MLflow's database, which is MLflow's to migrate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias

from chemprop_hpo.configs.errors import PromotionConflictError, StorageError, TrackingError
from chemprop_hpo.storage.ledger.book import Book
from chemprop_hpo.storage.ledger.opening import open_engine
from chemprop_hpo.storage.ledger.records import (
    Intent,
    Move,
    Outcome,
    Reconciled,
    RegisteredModel,
    State,
    say_version,
)

__all__ = ["Ledger", "ReadAlias", "WriteAlias", "open_ledger"]

ReadAlias: TypeAlias = Callable[[str], "str | int | None"]
"""Return the version of an alias in the registry, or None if it is not set."""

WriteAlias: TypeAlias = Callable[[str, "str | None"], object]
"""Set an alias in the registry to a version, or take it away with None."""

_OUTCOMES: dict[State, Outcome] = {
    "intended": "under_way",
    "done": "done",
    "abandoned": "abandoned",
    "refused": "refused",
}


def open_ledger(url: str, *, create: bool = True) -> Ledger:
    """Open the ledger at ``url``, and create its tables where they are missing.

    Any number of processes may do so at the same moment.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE.db`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``; not MLflow's.
    create : bool
        False for commands that enter nothing where nothing was entered before: a ledger that is
        not there is then an empty one, and no file is left behind.

    Raises
    ------
    StorageError
        The URL is wrong, or the database cannot be reached, or was made by MLflow or a newer
        version.
    """
    engine, masked = open_engine(url, create=create)
    return EmptyLedger(masked) if engine is None else Ledger(engine, masked)


class Ledger(Book):
    """An open ledger, and how an alias is moved with it.

    Attributes
    ----------
    begun : bool
        False where there is no ledger at the URL, and none was made.
    """

    begun = True

    def move(self, intent: Intent, *, read: ReadAlias, write: WriteAlias) -> Move:
        """Move an alias in the registry and in the ledger, or neither; see the module.

        Parameters
        ----------
        intent : Intent
            What is to be done, and on which version that was decided.
        read, write : callable
            The registry's side. What they raise is passed on, unless the registry shows that the
            alias has moved all the same. After the alias was written an error says that it may
            have moved.

        Returns
        -------
        Move
            As it was done.

        Raises
        ------
        PromotionConflictError
            The alias is no longer ``expected``; who moved it, when, and which version it is now.
        UsageError
            The alias is ``version`` already.
        StorageError
            The ledger cannot be reached. The alias may have moved: what is left unfinished is
            settled with the next move, or by `reconcile`.
        """
        with self.held():
            self._settle_left(intent.model, intent.alias, read)
            move = self.intend(intent)
            with self._let_go_if_it_fails(move):
                self._look_again(move, read)
                self.keep(move)
                return self._write_and_settle(move, read, write)

    def adopt(self, intent: Intent, *, read: ReadAlias) -> Move:
        """Enter in the ledger what a hand has moved in the registry, where nothing is written.

        Parameters
        ----------
        intent : Intent
            With ``kind="adopt"``; ``expected`` and ``version`` are what `reconcile` said that the
            ledger recorded, and found in the registry.
        read : callable
            The registry's side.

        Raises
        ------
        PromotionConflictError
            Either is something else by now.
        """
        with self.held():
            self._settle_left(intent.model, intent.alias, read)
            move = self.intend(intent)
            with self._let_go_if_it_fails(move):
                found = _text(read(move.alias))
                settled = self._settle_by(move, found)
                if settled.state == "done":
                    return settled
                raise PromotionConflictError(
                    f"{move.what} is {say_version(found)} in the registry by now, not "
                    f"{say_version(move.version)}; see: chemprop-hpo registry status"
                )

    def reconcile(
        self, model: RegisteredModel, *, read: ReadAlias, aliases: tuple[str, ...] = ()
    ) -> tuple[Reconciled, ...]:
        """Settle what is left unfinished, and tell which aliases a hand has moved.

        Parameters
        ----------
        model : RegisteredModel
            Whose aliases.
        read : callable
            The registry's side; nothing is written to it.
        aliases : tuple of str
            Aliases to compare beside those that the ledger knows.

        Returns
        -------
        tuple of Reconciled
            Empty where nothing was left, and ledger and registry agree.
        """
        with self.held():
            known = {move.alias for move in self.history(model)}
            return tuple(
                found
                for alias in sorted(known.union(aliases))
                for found in self._reconciled(model, alias, read)
            )

    # ------------------------------------------------------------------ the steps of a move

    def _settle_left(self, model: RegisteredModel, alias: str, read: ReadAlias) -> list[Reconciled]:
        """Settle what was left by those who are gone, and tell what became of it."""
        now, outcomes = self.now(), []
        for move in self.unfinished(model, alias):
            found = _text(read(alias))
            if not move.is_under_way(now):
                move = self._settle_by(move, found)
            recorded = self.current(model, alias)
            outcome = _OUTCOMES[move.state]
            outcomes.append(Reconciled(model, alias, outcome, recorded, found, move))
        return outcomes

    def _look_again(self, move: Move, read: ReadAlias) -> None:
        found = _text(read(move.alias))
        if found != move.expected:
            self.refuse(move, f"the registry had {say_version(found)}")
            raise PromotionConflictError(
                f"{move.what} is {say_version(found)} in the registry, not "
                f"{say_version(move.expected)}: it was moved by hand, and is left alone; "
                "see: chemprop-hpo registry status"
            )

    def _write_and_settle(self, move: Move, read: ReadAlias, write: WriteAlias) -> Move:
        error: Exception | None = None
        try:
            write(move.alias, move.version)
        except Exception as raised:  # it may have been done all the same
            error = raised
        with _saying_it_may_have_moved(move):
            found = _text(read(move.alias))
            settled = self._settle_by(move, found)
        if settled.state == "done":
            return settled
        raise error or PromotionConflictError(
            f"{move.what} was written as {say_version(move.version)}, and right after that is "
            f"{say_version(found)} in the registry; see: chemprop-hpo registry status"
        )

    def _settle_by(self, move: Move, found: str | None) -> Move:
        if found == move.version:
            return self.settle(move)
        note = f"the registry had {say_version(found)}"
        return self.abandon(move, note) if found == move.expected else self.refuse(move, note)

    @contextmanager
    def _let_go_if_it_fails(self, move: Move) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(StorageError):
                self.let_go(move)
            raise

    def _reconciled(
        self, model: RegisteredModel, alias: str, read: ReadAlias
    ) -> Iterator[Reconciled]:
        settled = self._settle_left(model, alias, read)
        yield from settled
        if any(each.outcome == "under_way" for each in settled):
            return  # it may move at any moment
        recorded, found = self.current(model, alias), _text(read(alias))
        if recorded != found:
            yield Reconciled(model, alias, "moved_by_hand", recorded, found, None)


class EmptyLedger(Ledger):
    """What is read where nobody has begun a ledger: nothing is in it, and nothing is entered."""

    begun = False

    def __init__(self, masked_url: str) -> None:
        self.masked_url = masked_url

    def history(self, model: RegisteredModel, alias: str | None = None) -> tuple[Move, ...]:
        """Return no move."""
        return ()

    def unfinished(
        self, model: RegisteredModel | None = None, alias: str | None = None
    ) -> tuple[Move, ...]:
        """Return no move."""
        return ()

    def now(self) -> datetime:
        """Return this machine's time."""
        return datetime.now(UTC)

    def intend(self, intent: Intent) -> NoReturn:
        """Refuse.

        Raises
        ------
        StorageError
            Always.
        """
        raise StorageError(
            f"the ledger {self.masked_url} does not exist, so {intent.what} is not moved; begin it "
            "with: chemprop-hpo registry candidate"
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold nothing: there is nothing that another could change."""
        yield

    def close(self) -> None:
        """Close nothing."""


@contextmanager
def _saying_it_may_have_moved(move: Move) -> Iterator[None]:
    try:
        yield
    except (StorageError, TrackingError) as error:
        raise type(error)(
            f"{error}; {move.what} may have moved; see: chemprop-hpo registry status"
        ) from error


def _text(version: str | int | None) -> str | None:
    return None if version is None else str(version)
