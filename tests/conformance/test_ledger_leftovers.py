"""Moves that end otherwise than they began: a registry that fails, and what is left unfinished."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from chemprop_hpo.configs.errors import PromotionConflictError, StorageError
from chemprop_hpo.storage.ledger import Ledger, Move
from chemprop_hpo.storage.ledger.tables import moves
from tests.conformance.registries import MODEL, FileRegistry, agree, intent, promote, states


def change(ledger: Ledger, move: Move, **values: Any) -> None:
    with ledger._engine.begin() as connection:
        connection.execute(update(moves).where(moves.c.id == move.id).values(values))


# ------------------------------------------------------------------ a registry that fails


class TroubleError(Exception):
    pass


def fail(*_: object) -> None:
    raise TroubleError


def test_a_registry_that_cannot_be_read_leaves_nothing_moved(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    with pytest.raises(TroubleError):
        ledger.move(intent(3, 4), read=fail, write=registry.write)
    (found,) = ledger.reconcile(MODEL, read=registry.read)
    assert (found.outcome, found.recorded, found.found) == ("abandoned", "3", "3")


def test_a_write_that_fails_is_passed_on_and_entered_as_abandoned(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    with pytest.raises(TroubleError):
        ledger.move(intent(3, 4), read=registry.read, write=fail)
    assert states(ledger) == ["done", "abandoned"]
    promote(ledger, registry, 3, 5)


def test_a_write_whose_answer_was_lost_is_done(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    def write(alias: str, version: str | None) -> None:
        registry.write(alias, version)
        raise TroubleError

    assert ledger.move(intent(3, 4), read=registry.read, write=write).state == "done"
    assert agree(ledger, registry)


@pytest.mark.parametrize("error", [TroubleError, KeyboardInterrupt])
def test_a_registry_that_goes_away_after_the_write_is_reconciled_at_once(
    ledger: Ledger, registry: FileRegistry, champion: int, error: type[BaseException]
) -> None:
    """By the same process, which lives on."""

    def write(alias: str, version: str | None) -> None:
        registry.write(alias, version)
        registry.is_away = True
        raise error

    with pytest.raises((error, ConnectionError)):
        ledger.move(intent(3, 4), read=registry.read, write=write)
    registry.is_away = False
    (found,) = ledger.reconcile(MODEL, read=registry.read)
    assert (found.outcome, found.recorded, found.found) == ("done", "4", "4")
    assert "left unfinished is done; the registry has version 4" in found.said


def test_a_registry_that_takes_the_write_and_forgets_it_is_no_success(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    with pytest.raises(PromotionConflictError, match="right after that is version 3"):
        ledger.move(intent(3, 4), read=registry.read, write=lambda *_: None)
    assert states(ledger) == ["done", "abandoned"]


def test_a_hand_that_comes_right_after_the_write_is_seen(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    def write(alias: str, version: str | None) -> None:
        registry.write(alias, "9")

    with pytest.raises(PromotionConflictError, match="right after that is version 9"):
        ledger.move(intent(3, 4), read=registry.read, write=write)
    assert states(ledger) == ["done", "refused"]


# ------------------------------------------------------------------ what is left unfinished


@pytest.mark.parametrize(
    ("there", "outcome", "recorded"),
    [("4", "done", "4"), ("3", "abandoned", "3"), ("9", "refused", "3"), (None, "refused", "3")],
)
def test_what_is_left_is_settled_by_what_the_registry_shows(
    ledger: Ledger,
    registry: FileRegistry,
    champion: int,
    there: str | None,
    outcome: str,
    recorded: str,
) -> None:
    ledger.let_go(ledger.intend(intent(3, 4)))
    registry.write("champion", there)
    first, *more = ledger.reconcile(MODEL, read=registry.read)
    assert (first.outcome, first.recorded, first.found) == (outcome, recorded, there)
    assert [each.outcome for each in more] == ["moved_by_hand"] * (outcome == "refused")
    assert states(ledger) == ["done", outcome]
    assert ledger.reconcile(MODEL, read=registry.read) == tuple(more)


def test_the_next_move_settles_what_is_left_before_it_begins(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    ledger.let_go(ledger.intend(intent(3, 4)))
    registry.write("champion", "4")
    with pytest.raises(PromotionConflictError, match="is version 4 by now"):
        promote(ledger, registry, 3, 5)
    promote(ledger, registry, 4, 5)
    assert states(ledger) == ["done"] * 3


def test_an_intent_without_the_lock_is_refused_while_another_stands(
    ledger: Ledger, champion: int
) -> None:
    first = ledger.intend(intent(3, 4, actor="anna"))
    with pytest.raises(
        PromotionConflictError, match="being moved to version 4 by anna since .*; try"
    ):
        ledger.intend(intent(3, 5))
    ledger.let_go(first)
    with pytest.raises(PromotionConflictError, match="who left it unfinished; see: chemprop-hpo"):
        ledger.intend(intent(3, 5))


def test_what_a_living_process_is_at_is_left_to_it(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    """Its lock went with its connection, so that another got in."""
    move = ledger.intend(intent(3, 4))
    change(ledger, move, heard_at=0.0)
    (found,) = ledger.reconcile(MODEL, read=registry.read)
    assert found.outcome == "under_way"
    assert "is being moved to version 4 by " in found.said
    assert ledger.settle(move).state == "done"


def test_a_process_of_another_machine_is_given_a_minute(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    move = ledger.intend(intent(3, 4))
    now = ledger.now().timestamp()
    for age, outcome in ((50, "under_way"), (61, "abandoned")):
        change(ledger, move, host="elsewhere", heard_at=now - age)
        (found,) = ledger.reconcile(MODEL, read=registry.read)
        assert found.outcome == outcome


def test_who_was_taken_for_dead_writes_no_more(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    """It slept between its intent and its write."""
    read = iter([3, 3])

    def sleep_and_read(alias: str) -> int:
        (move,) = ledger.unfinished()
        ledger.abandon(move, "the registry had version 3")
        return next(read)

    with pytest.raises(PromotionConflictError, match="was abandoned by another process at .*away"):
        ledger.move(intent(3, 4), read=sleep_and_read, write=registry.write)
    assert registry.read("champion") == 3


def test_an_end_is_entered_once(ledger: Ledger, champion: int) -> None:
    move = ledger.intend(intent(3, 4))
    assert ledger.settle(move) == ledger.settle(move)
    with pytest.raises(PromotionConflictError, match="was done by another process"):
        ledger.abandon(move, "too late")
    assert ledger.current(MODEL, "champion") == "4"


def test_a_ledger_without_its_tables_says_so_in_one_line(
    ledger: Ledger, registry: FileRegistry
) -> None:
    moves.drop(ledger._engine)
    with pytest.raises(StorageError, match=r"cannot be used: .*promotion\.ledger") as caught:
        promote(ledger, registry, None, 1)
    assert "\n" not in str(caught.value)
