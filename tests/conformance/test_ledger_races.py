"""Promoters at the same moment, and promoters that are killed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from sqlalchemy import event, text

from chemprop_hpo.configs.errors import PromotionConflictError
from chemprop_hpo.storage import locks
from chemprop_hpo.storage.ledger import open_ledger
from chemprop_hpo.storage.ledger.tables import moves
from tests.conformance.processes import FORK, die, in_processes
from tests.conformance.registries import MODEL, FileRegistry, agree, intent, promote

ROUNDS = 20


# ------------------------------------------------------------------ at the same moment


def test_processes_that_open_at_once_make_the_tables_once(database_url: str) -> None:
    assert in_processes(4, _open, database_url) == [()] * 4


def _open(url: str) -> object:
    with open_ledger(url) as ledger:
        return ledger.history(MODEL)


def test_of_two_that_promote_at_once_one_wins_and_the_other_is_told_who(
    database_url: str, registry: FileRegistry
) -> None:
    open_ledger(database_url).close()
    rounds = FORK.Barrier(2)
    one, other = in_processes(2, _promote_each_round, database_url, registry, rounds)
    for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        assert {mine[0], theirs[0]} == {"won", "lost"}, (number, mine, theirs)
        won, lost = (mine, theirs) if mine[0] == "won" else (theirs, mine)
        assert f"is version {won[1]} by now, promoted by {won[2]} at " in lost[2]
    with open_ledger(database_url) as ledger:
        history = ledger.history(MODEL)
        assert [move.state for move in history] == ["done"] * ROUNDS
        assert [m.expected for m in history] == [None, *(m.version for m in history[:-1])]
        assert agree(ledger, registry)


Told = tuple[str, int, str]


def _promote_each_round(url: str, registry: FileRegistry, rounds: Barrier) -> list[Told]:
    told = []
    with open_ledger(url) as ledger:
        for number in range(ROUNDS):
            expected = registry.read("champion")
            version = os.getpid() * 100 + number
            rounds.wait(60)  # both have decided on the same version
            try:
                told.append(("won", version, promote(ledger, registry, expected, version)))
            except PromotionConflictError as error:
                told.append(("lost", version, str(error)))
            rounds.wait(60)
    return told


def test_even_without_the_lock_one_intent_an_alias_is_let_in(database_url: str) -> None:
    open_ledger(database_url).close()
    rounds = FORK.Barrier(3)
    found = in_processes(3, _intend_each_round, database_url, rounds)
    for number, answers in enumerate(zip(*found, strict=True)):
        assert sorted(answer[0] for answer in answers) == ["let in", "refused", "refused"]
        (actor,) = (said for what, said in answers if what == "let in")
        for said in (said for what, said in answers if what == "refused"):
            assert f"being moved to version {number} by {actor} since " in said


def _intend_each_round(url: str, rounds: Barrier) -> list[tuple[str, str]]:
    answers = []
    with open_ledger(url) as ledger:
        for number in range(ROUNDS):
            rounds.wait(60)
            try:
                move = ledger.intend(intent(None, number, f"alias {number}"))
                answers.append(("let in", move.actor))
            except PromotionConflictError as error:
                answers.append(("refused", str(error)))
        rounds.wait(60)  # of whoever has ended it would be said that it left it
    return answers


def test_a_whole_move_between_the_look_and_the_intent_is_seen(
    database_url: str, registry: FileRegistry
) -> None:
    """By whoever has no lock, or has lost it."""
    with open_ledger(database_url) as ledger, open_ledger(database_url) as other:

        def move_first(_: Any, __: Any, statement: str, *___: Any) -> None:
            if statement.startswith("INSERT") and not other.history(MODEL):
                other.settle(other.intend(intent(None, 4, actor="anna")))

        event.listen(ledger._engine, "before_cursor_execute", move_first)
        with pytest.raises(PromotionConflictError, match="version 4 by now, promoted by anna"):
            ledger.intend(intent(None, 5))
        assert [move.version for move in ledger.history(MODEL)] == ["4"]


def test_who_waits_for_the_lock_in_vain_is_told_who_holds_it(
    database_url: str, registry: FileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BUSY_TIMEOUT_S", 1)

    def write(alias: str, version: str | None) -> None:
        with (
            open_ledger(database_url) as other,
            pytest.raises(
                PromotionConflictError, match="being moved to version 4 by anna since .* try again"
            ),
        ):
            promote(other, registry, None, 5)
        registry.write(alias, version)

    with open_ledger(database_url) as ledger:
        ledger.move(intent(None, 4, actor="anna"), read=registry.read, write=write)
        assert agree(ledger, registry)


def test_a_lock_that_goes_with_its_connection_lets_nobody_in(
    postgres_url: str, registry: FileRegistry
) -> None:
    """The server ends the connection that holds it, while the alias is written."""

    def write(alias: str, version: str | None) -> None:
        with open_ledger(postgres_url) as other:
            with other._engine.begin() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks "
                        "WHERE locktype = 'advisory' AND granted"
                    )
                )
            with pytest.raises(PromotionConflictError, match="being moved to version 4 by anna"):
                promote(other, registry, None, 5)
        registry.write(alias, version)

    with open_ledger(postgres_url) as ledger:
        wanted = intent(None, 4, actor="anna")
        assert ledger.move(wanted, read=registry.read, write=write).state == "done"
        assert agree(ledger, registry)


# ------------------------------------------------------------------ killed


def test_a_promoter_killed_before_any_of_its_steps_leaves_what_can_be_reconciled(
    database_url: str, registry: FileRegistry
) -> None:
    """Steps: each statement and commit of the ledger's, each read and write of the registry's."""
    with open_ledger(database_url) as ledger:
        outcomes, step = [], 0
        while _dies_at(step, database_url, registry, version=step + 1):
            rows = len(ledger.history(MODEL))
            found = ledger.reconcile(MODEL, read=registry.read)
            outcomes.append([each.outcome for each in found])
            assert agree(ledger, registry)
            assert ledger.unfinished() == ()
            assert len(ledger.history(MODEL)) == rows
            step += 1
        assert registry.read("champion") == step + 1
        assert agree(ledger, registry)
    # Before the intent nothing is left; then nothing has moved; then it has; then it is settled.
    order = [["abandoned"], ["done"]]
    assert [o for o in outcomes if o] == sorted((o for o in outcomes if o), key=order.index)
    assert all(kind in outcomes for kind in ([], *order))
    assert outcomes[0] == outcomes[-1] == []


def test_a_ledger_that_goes_away_while_the_alias_moves_is_reconciled_later(
    database_url: str, registry: FileRegistry
) -> None:
    with open_ledger(database_url) as ledger:
        (said,) = in_processes(1, _lose_the_ledger, database_url, registry)
        assert re.match("StorageError\\(.the ledger ", said)
        assert "may have moved" in said
        with ledger._engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE away RENAME TO {moves.name}"))
        (found,) = ledger.reconcile(MODEL, read=registry.read)
        assert (found.outcome, found.found) == ("done", "4")
        assert agree(ledger, registry)


def _lose_the_ledger(url: str, registry: FileRegistry) -> None:
    with open_ledger(url) as ledger:

        def write(alias: str, version: str | None) -> None:
            registry.write(alias, version)
            with ledger._engine.begin() as connection:
                connection.execute(text(f"ALTER TABLE {moves.name} RENAME TO away"))

        ledger.move(intent(None, 4), read=registry.read, write=write)


def test_a_reconciler_killed_before_any_of_its_steps_is_followed_by_the_next(
    database_url: str, registry: FileRegistry
) -> None:
    with open_ledger(database_url) as ledger:
        ledger.let_go(ledger.intend(intent(None, 1)))
        registry.write("champion", "1")
        step = 0
        while _dies_at(step, database_url, registry, version=None):
            assert len(ledger.history(MODEL)) == 1
            step += 1
        assert step > 5
        assert agree(ledger, registry)
        assert ledger.reconcile(MODEL, read=registry.read) == ()


def _dies_at(step: int, url: str, registry: FileRegistry, version: int | None) -> bool:
    """Whether a promoter, or reconciler, was killed before that step; False if it had fewer."""
    child = FORK.Process(target=_work_until, args=(step, url, registry, version))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _work_until(step: int, url: str, registry: FileRegistry, version: int | None) -> None:
    left = [step]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            die()

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            count()
            done = work(*args)
            count()
            return done

        return counting

    read, write = counted(registry.read), counted(registry.write)
    with open_ledger(url) as ledger:
        event.listen(ledger._engine, "before_cursor_execute", count)
        event.listen(ledger._engine, "commit", count)
        if version is None:
            ledger.reconcile(MODEL, read=read)
        else:
            ledger.move(intent(registry.read("champion"), version), read=read, write=write)
