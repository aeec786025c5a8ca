"""The champion goes back, and a kill between any two steps is put right."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from chemprop_hpo.configs.errors import (
    PromotionConflictError,
    TrackingError,
    UsageError,
)
from chemprop_hpo.hpo.promotion.adopting import adopt_moved
from chemprop_hpo.hpo.promotion.candidate import register_candidate
from chemprop_hpo.hpo.promotion.registered.registry import Registry
from chemprop_hpo.hpo.promotion.rolling_back import roll_back
from chemprop_hpo.hpo.promotion.settling import settle
from tests.hpo.promotion.made_registry import (
    GOOD,
    Place,
    aliases,
    promoted,
    rolled_back,
    write_record,
)

BETTER = {**GOOD, "test_rmse": 0.5, "test_mae": 0.4}

# ------------------------------------------------------------------ rollback


def test_a_rollback_goes_to_the_champion_before_and_deletes_nothing(place: Place) -> None:
    for error in (0.6, 0.5, 0.4):
        place.candidate(error)
        promoted(place)
    done = rolled_back(place)
    assert (done.failed, done.champion) == ("3", "2")
    assert rolled_back(place, "again").champion == "1"
    versions = place.registry().versions()
    assert [v.tags.get("status") for v in versions] == [None, *["failed_in_monitoring"] * 2]
    assert versions[2].tags["status_reason"] == "worse on the new series"
    assert aliases(place) == {"champion": "1"}
    with pytest.raises(UsageError, match="has no champion before it"):
        rolled_back(place)
    assert aliases(place) == {"champion": "1"}


def test_what_was_rolled_back_is_not_promoted_again(place: Place) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        promoted(place)
    rolled_back(place)
    registry = place.registry()
    registry.set_alias("candidate", "2")  # a hand does so
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "once more")
    (rule,) = promoted(place).decision.blocked
    assert rule.text == "version 2 was champion before, and was rolled back"
    assert aliases(place) == {"champion": "1", "candidate": "2"}


def test_the_same_weights_on_another_commit_are_not_promoted_again(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    predictor = place.predictor(0.5)
    for commit in ("c" * 40, "f" * 40):
        write_record(predictor, metrics=BETTER, provenance={"git_commit": commit})
        with place.ledger() as ledger:
            register_candidate(place.registry(), ledger, place.config, predictor)
        if commit == "c" * 40:
            promoted(place)
    rolled_back(place)
    (rule,) = promoted(place).decision.blocked
    assert rule.text == "it has the weights of version 2, which was rolled back"
    assert aliases(place) == {"champion": "1", "candidate": "3"}


def test_a_champion_that_came_after_the_decision_is_not_rolled_back(place: Place) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        promoted(place)
    with (
        place.ledger() as ledger,
        pytest.raises(PromotionConflictError, match="version 2 is the champion by"),
    ):
        roll_back(place.registry(), ledger, "judged before", expected="1")
    assert aliases(place) == {"champion": "2"}
    assert all("status" not in version.tags for version in place.registry().versions())


def test_without_a_champion_there_is_nothing_to_roll_back(place: Place) -> None:
    with pytest.raises(UsageError, match="has no champion; make one with"):
        rolled_back(place)


def test_a_rollback_that_a_person_takes_for_a_mistake_stays_undone(place: Place) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        promoted(place)
    rolled_back(place)
    registry = place.registry()
    registry.client.delete_model_version_tag("alkanes", "2", "status")
    registry.client.set_registered_model_alias("alkanes", "champion", "2")
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "the new series was wrong")
        assert settle(registry, ledger) == ()
    assert "status" not in registry.version("2").tags

    assert rolled_back(place, "worse after all").failed == "2"
    tags = registry.version("2").tags
    assert (tags["status"], tags["status_reason"]) == ("failed_in_monitoring", "worse after all")


def test_a_rollback_goes_to_no_version_that_only_has_the_number_of_a_champion(
    place: Place,
) -> None:
    place.candidate(0.6)
    promoted(place)
    registry = place.registry()
    registry.client.delete_registered_model("alkanes")
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "deleted")
    for error in (0.5, 0.4):
        place.candidate(error)
    assert promoted(place).candidate == "2"
    with pytest.raises(UsageError, match="version 2 of 'alkanes' has no champion before it"):
        rolled_back(place)
    assert aliases(place) == {"champion": "2"}


def test_what_the_ledger_believed_when_a_model_was_made_anew_is_no_champion(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    registry = place.registry()
    registry.client.delete_registered_model("alkanes")
    for error in (0.5, 0.4):
        run_id = place.candidate_run(error)
        registry.add_version(run_id, {})
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "made anew")
        registry.client.set_registered_model_alias("alkanes", "champion", "2")
        adopt_moved(registry, ledger, "the pilot's")
    with pytest.raises(UsageError, match="version 2 of 'alkanes' has no champion before it"):
        rolled_back(place)


def test_a_champion_that_a_hand_has_set_is_gone_back_to(place: Place) -> None:
    place.candidate(0.6)
    registry = place.registry()
    registry.client.set_registered_model_alias("alkanes", "champion", "1")
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "the pilot's")
    place.candidate(0.5)
    assert promoted(place).moved
    assert rolled_back(place).champion == "1"


def test_a_rollback_whose_tag_the_server_did_not_take_is_told_and_counts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        promoted(place)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "tag", _away)
        done = rolled_back(place)
    assert (done.champion, aliases(place)) == ("1", {"champion": "1"})
    assert done.undone == (
        "version 2 is not tagged yet, which the next command does: the server is away"
    )
    assert status_after_settling(place) == "failed_in_monitoring"


def status_after_settling(place: Place) -> str:
    """Return the status of the version that failed when the next command has settled."""
    registry = place.registry()
    with place.ledger() as ledger:
        settle(registry, ledger)
    return registry.version("2").tags["status"]


def _away(*_: object) -> None:
    raise TrackingError("the server is away")


# ------------------------------------------------------------------ kills


def killed(place: Place, work: str, step: str) -> None:
    """Let a process do that work, and kill it after that step."""
    module = "tests.hpo.promotion.killed_promoter"
    command = [sys.executable, "-m", module, place.uri, work, step]
    assert subprocess.run(command, timeout=180, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", ["intended", "alias", "settled", "cleared"])
def test_a_promoter_that_is_killed_leaves_what_the_next_command_puts_right(
    place: Place, step: str
) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        if error == 0.6:
            promoted(place)
    killed(place, "promote", step)
    registry = place.registry()
    with place.ledger() as ledger:
        settle(registry, ledger)
        assert ledger.unfinished(registry.model) == ()
        for alias in ("champion", "candidate"):
            assert ledger.current(registry.model, alias) == registry.alias(alias)
    assert registry.alias("champion") == ("1" if step == "intended" else "2")
    assert [version.number for version in registry.versions()] == ["1", "2"]
    if step == "intended":
        assert promoted(place).moved
    elif step == "cleared":
        assert aliases(place) == {"champion": "2"}
    else:
        assert registry.alias("candidate") == "2"
        assert place.candidate(0.4).replaced == "2"


@pytest.mark.parametrize("step", ["intended", "alias", "settled", "status"])
def test_a_rollback_that_is_killed_is_put_right_by_the_next_command(
    place: Place, step: str
) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        promoted(place)
    killed(place, "rollback", step)
    registry = place.registry()
    assert ("status" in registry.version("2").tags) == (step == "status")
    with place.ledger() as ledger:
        settle(registry, ledger)
        assert ledger.unfinished(registry.model) == ()
    if step == "intended":
        assert aliases(place) == {"champion": "2"}
        assert rolled_back(place).failed == "2"
    tags = registry.version("2").tags
    assert aliases(place) == {"champion": "1"}
    assert (tags["status"], tags["status_reason"]) == (
        "failed_in_monitoring",
        "worse on the new series",
    )
