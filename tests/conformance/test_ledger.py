"""The ledger by itself, and a registry whose aliases other hands move."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from chemprop_hpo.configs.errors import PromotionConflictError, UsageError
from chemprop_hpo.storage.ledger import Ledger, RegisteredModel
from tests.conformance.registries import MODEL, FileRegistry, agree, intent, promote, states

# ------------------------------------------------------------------ what is remembered


def test_a_move_is_done_in_both_and_remembered_whole(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    rules = {"test_rmse": {"figure": 0.61, "bound": 0.63}, "mae": float("nan")}
    wanted = intent(champion, 4, decision=rules, actor="anna@box pid 7")
    began = datetime.now(UTC)
    done = ledger.move(wanted, read=registry.read, write=registry.write)
    assert (registry.read("champion"), ledger.current(MODEL, "champion")) == (4, "4")
    assert ledger.history(MODEL)[-1] == done
    assert (done.expected, done.version, done.kind, done.state) == ("3", "4", "promote", "done")
    assert (done.actor, done.reason, done.number) == ("anna@box pid 7", "better by 3 %", 2)
    assert done.decision == {"test_rmse": {"figure": 0.61, "bound": 0.63}, "mae": "nan"}
    assert done.settled_at is not None
    assert abs((done.intended_at - began).total_seconds()) < 5
    assert done.intended_at <= done.settled_at


def test_who_moves_is_named_without_being_asked(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    (move,) = ledger.history(MODEL)
    assert re.fullmatch(rf".+@.+ pid {os.getpid()}", move.actor)


def test_an_alias_can_be_taken_away_and_set_again(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    for expected, version in ((3, None), (None, 3)):
        ledger.move(intent(expected, version), read=registry.read, write=registry.write)
        assert registry.read("champion") == version
        assert agree(ledger, registry)


def test_aliases_models_and_registries_have_each_their_own_history(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    ledger.intend(intent(None, 9, "candidate"))
    for other in (RegisteredModel(MODEL.registry, "logs"), RegisteredModel("http://ml", "esol")):
        assert ledger.current(other, "champion") is None
        ledger.intend(intent(None, 1, model=other))
        assert len(ledger.history(other)) == 1
    assert ledger.current(MODEL, "champion") == "3"
    assert [move.alias for move in ledger.history(MODEL)] == ["champion", "candidate"]
    assert [move.alias for move in ledger.unfinished(MODEL)] == ["candidate"]
    assert len(ledger.unfinished()) == 3


def test_no_password_reaches_the_ledger(ledger: Ledger) -> None:
    url = "https://anna:Geheimnis8@mlflow.lab/"
    wanted = intent(None, 1, model=RegisteredModel(url, "esol"), reason=url, decision={"at": [url]})
    ledger.intend(wanted)
    with ledger._engine.connect() as connection:
        stored = str(connection.execute(text("SELECT * FROM chemprop_hpo_moves")).all())
    assert "mlflow.lab" in stored
    assert "Geheimnis8" not in stored + repr(ledger) + repr(wanted)


def test_another_user_of_a_registry_means_the_same_one() -> None:
    places = ("http://ml:5000", "http://anna@ml:5000/", "http://bob:pw/@1@ml:5000")
    assert len({RegisteredModel(place, "esol") for place in places}) == 1
    assert RegisteredModel("sqlite:////srv/a@b/ml.db", "esol").registry.endswith("a@b/ml.db")


# ------------------------------------------------------------------ who is refused


def test_a_decision_on_an_older_version_is_told_who_moved_it_and_when(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    done = ledger.move(intent(3, 4, actor="anna"), read=registry.read, write=registry.write)
    with pytest.raises(PromotionConflictError) as caught:
        promote(ledger, registry, 3, 5)
    said = str(caught.value)
    assert said.startswith("'champion' of 'esol' is version 4 by now, promoted by anna at ")
    assert f"{done.settled_at:%Y-%m-%d %H:%M:%S} UTC (better by 3 %)" in said
    assert "while it was version 3: decide again" in said
    assert caught.value.exit_code == 1
    assert registry.read("champion") == 4
    assert states(ledger) == ["done", "done"]


def test_a_move_to_where_the_alias_is_is_the_users_mistake(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    with pytest.raises(UsageError, match="is version 3 already; nothing is moved"):
        promote(ledger, registry, 3, 3)
    assert states(ledger) == ["done"]


def test_an_alias_that_was_set_before_there_was_a_ledger_is_adopted_first(
    ledger: Ledger, registry: FileRegistry
) -> None:
    registry.write("champion", "7")
    with pytest.raises(PromotionConflictError, match="knows of no move .* so it was set by hand"):
        promote(ledger, registry, 7, 8)
    (found,) = ledger.reconcile(MODEL, read=registry.read, aliases=("champion", "candidate"))
    assert (found.outcome, found.recorded, found.found) == ("moved_by_hand", None, "7")
    adopted = intent(found.recorded, found.found, kind="adopt", reason="was there")
    assert ledger.adopt(adopted, read=registry.read).state == "done"
    promote(ledger, registry, 7, 8)
    assert [move.kind for move in ledger.history(MODEL)] == ["adopt", "promote"]


def test_an_alias_moved_by_hand_is_left_alone_and_the_attempt_remembered(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    registry.write("champion", "9")
    with pytest.raises(
        PromotionConflictError, match="is version 9 in the registry, not version 3: .* by hand"
    ):
        promote(ledger, registry, 3, 4)
    assert registry.read("champion") == 9
    refused = ledger.history(MODEL)[-1]
    assert (refused.state, refused.note) == ("refused", "the registry had version 9")
    (found,) = ledger.reconcile(MODEL, read=registry.read)
    assert found.said == (
        "'champion' of 'esol' is version 9 in the registry and version 3 by the ledger: "
        "it was moved by hand"
    )
    ledger.adopt(intent(3, 9, kind="adopt"), read=registry.read)
    assert ledger.reconcile(MODEL, read=registry.read) == ()


def test_what_a_hand_took_away_is_adopted_as_not_set(
    ledger: Ledger, registry: FileRegistry, champion: int
) -> None:
    registry.write("champion", None)
    ledger.adopt(intent(3, None, kind="adopt"), read=registry.read)
    assert agree(ledger, registry)


@pytest.mark.parametrize(
    ("expected", "version", "said"),
    [(2, 9, "is version 3 by now"), (3, 8, "is version 9 in the registry by now, not version 8")],
)
def test_what_changed_since_it_was_looked_at_is_not_adopted(
    ledger: Ledger,
    registry: FileRegistry,
    champion: int,
    expected: int,
    version: int,
    said: str,
) -> None:
    registry.write("champion", "9")
    with pytest.raises(PromotionConflictError, match=said):
        ledger.adopt(intent(expected, version, kind="adopt"), read=registry.read)
    assert ledger.current(MODEL, "champion") == "3"
    assert ledger.unfinished() == ()
