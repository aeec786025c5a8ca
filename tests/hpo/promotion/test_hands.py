"""What a hand, or another program, has done to the registry is never overwritten."""

from __future__ import annotations

import pytest

from chemprop_hpo.configs.errors import (
    DataError,
    PromotionConflictError,
)
from chemprop_hpo.hpo.promotion.adopting import adopt_moved, unknown_versions
from chemprop_hpo.hpo.promotion.settling import settle
from tests.hpo.promotion.made_registry import (
    Place,
    aliases,
    promoted,
)


def test_a_champion_that_a_hand_has_moved_is_never_overwritten(place: Place) -> None:
    for error in (0.6, 0.5, 0.4):
        place.candidate(error)
        if error != 0.4:
            promoted(place)
    registry = place.registry()
    registry.client.set_registered_model_alias("alkanes", "champion", "1")
    with pytest.raises(
        PromotionConflictError, match="is version 1 in the registry and version 2 by"
    ):
        promoted(place)
    assert aliases(place)["champion"] == "1"
    with place.ledger() as ledger:
        (found,) = settle(registry, ledger)
        assert "it was moved by hand" in found.said
        (move,) = adopt_moved(registry, ledger, "the pilot's")
        assert (move.expected, move.version, move.reason) == ("2", "1", "the pilot's")
        assert adopt_moved(registry, ledger, "again") == []
    assert promoted(place).champion == "1"


def test_further_aliases_stand_beside_ours(place: Place) -> None:
    place.candidate()
    registry = place.registry()
    registry.client.set_registered_model_alias("alkanes", "baseline", "1")
    with place.ledger() as ledger:
        assert settle(registry, ledger) == ()
    assert promoted(place).moved
    assert aliases(place) == {"baseline": "1", "champion": "1"}


def test_a_version_of_another_program_is_not_decided_upon(place: Place) -> None:
    registry = place.registry()
    registry.client.create_registered_model("alkanes")
    registry.client.create_model_version("alkanes", str(place.folder))
    registry.set_alias("candidate", "1")
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "by hand")
    with pytest.raises(DataError, match=r"version 1 of 'alkanes' has no record.json: another"):
        promoted(place)


def test_a_champion_of_another_program_is_told_of_and_the_advice_helps(place: Place) -> None:
    registry = place.registry()
    registry.client.create_registered_model("alkanes")
    registry.client.create_model_version("alkanes", str(place.folder))
    registry.set_alias("champion", "1")
    with place.ledger() as ledger:
        (said,) = unknown_versions(registry, adopt_moved(registry, ledger, "the pilot's"))
    place.candidate()
    with pytest.raises(DataError) as caught:
        promoted(place)
    assert str(caught.value) == said
    assert said == (
        "version 1 of 'alkanes' has no record.json: another program registered it, and nothing is "
        "known of its figures; take the alias 'champion' away in MLflow, then: "
        "chemprop-hpo registry adopt"
    )
    registry.client.delete_registered_model_alias("alkanes", "champion")
    with place.ledger() as ledger:
        adopted = adopt_moved(registry, ledger, "of no use")
        assert unknown_versions(registry, adopted) == []
    assert promoted(place).moved
    assert aliases(place) == {"champion": "2"}


def test_a_version_whose_run_lost_its_files_is_not_said_to_be_of_another_program(
    place: Place,
) -> None:
    made = place.candidate()
    for path in place.folder.glob(f"mlruns/**/{made.run_id}/artifacts/record.json"):
        path.unlink()
    with pytest.raises(DataError, match="its MLflow run, or what the run has kept, was deleted"):
        promoted(place)
