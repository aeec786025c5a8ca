"""``registry check``: what it says of fresh labels, and what ``--apply`` does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.hpo.promotion import checking
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import StudyRecord, open_or_create_study
from tests.hpo.commands.shell import Shell
from tests.hpo.promotion.made_champions import (
    champion,
    classification,
    fresh_file,
    regression_of_two,
    said_by_champion,
)
from tests.hpo.promotion.made_registry import LABELS, TEST_ROWS, Place, aliases, promoted

URL = "sqlite:///studies.db"
CHECK = ("registry", "check", "--study", "alkanes", "--storage", URL, "--data", "fresh.csv")


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from chemprop_hpo.hpo.tracking.server import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def place(empty_mlflow: Path, tmp_path: Path) -> Place:
    """A study without trials, and an empty store of MLflow's."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    stored = {
        "data": {"file": "carbons.csv", "target_cols": ["carbons"]},
        "study": {"name": "alkanes", "storage": URL},
        "mlflow": {"tracking_uri": uri},
    }
    record = StudyRecord(
        config=load_stored(stored).stored,
        metric="val_loss",
        mode="min",
        space={},
        space_hash="0",
        data={},
        seed=0,
        folder="studies/alkanes",
    )
    with open_database(URL) as database:
        open_or_create_study(database, "alkanes", record)
    return Place(tmp_path, uri)


@pytest.fixture
def two_champions(place: Place) -> Place:
    """Version 2 is the champion, version 1 was it before."""
    for error in (0.6, 0.5):
        place.candidate(error)
        assert promoted(place).moved
    return place


def test_a_champion_that_holds_is_kept(shell: Shell, two_champions: Place) -> None:
    fresh_file(two_champions, {"carbons": 0.4})
    assert shell(*CHECK) == 0
    assert "champion 2 of 'alkanes' on 30 fresh molecules: 0.4 [0.4, 0.4]" in shell.out
    assert shell.out.splitlines()[-1] == "keep"
    assert aliases(two_champions)["champion"] == "2"


def test_a_champion_that_fails_is_rolled_back_where_that_is_asked_for(
    shell: Shell, two_champions: Place
) -> None:
    fresh_file(two_champions, {"carbons": 2.0})
    assert shell(*CHECK) == 1
    assert "roll back: chemprop-hpo registry rollback" in shell.out
    assert aliases(two_champions)["champion"] == "2"

    assert shell(*CHECK, "--apply") == 0
    assert "rolled back: version 1 is the champion again, 2 has failed" in shell.out
    assert aliases(two_champions)["champion"] == "1"
    with two_champions.ledger() as ledger:
        move = ledger.history(two_champions.registry().model, "champion")[-1]
    assert (move.kind, move.expected, move.version) == ("rollback", "2", "1")
    assert "test_rmse of fresh labels is 2" in move.reason
    assert move.decision["allowed"] is True


def test_another_champion_than_the_judged_one_is_not_rolled_back(
    shell: Shell, two_champions: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh_file(two_champions, {"carbons": 2.0})
    judge = checking.check_champion

    def and_another_is_promoted(*arguments: Any) -> checking.Check:
        done = judge(*arguments)
        two_champions.candidate(0.4)
        assert promoted(two_champions).moved
        return done

    monkeypatch.setattr(checking, "check_champion", and_another_is_promoted)
    assert shell(*CHECK, "--apply") == 1
    assert "version 2 of 'alkanes' was judged, and version 3 is the champion by now" in shell.err
    assert aliases(two_champions)["champion"] == "3"


def test_an_alias_that_a_hand_has_moved_is_told(shell: Shell, two_champions: Place) -> None:
    registry = two_champions.registry()
    registry.client.set_registered_model_alias("alkanes", "champion", "1")
    fresh_file(two_champions, {"carbons": 2.0})
    assert shell(*CHECK) == 1
    assert "it was moved by hand; take that over with: chemprop-hpo registry adopt" in shell.err
    assert "champion 1 of 'alkanes'" in shell.out
    assert shell(*CHECK, "--apply") == 1
    assert "is left alone" in shell.err
    assert aliases(two_champions)["champion"] == "1"


def test_targets_that_are_left_out_are_named_with_the_reason(shell: Shell, place: Place) -> None:
    champion(place, regression_of_two(place))
    path = fresh_file(place, {"carbons": 0.8, "oxygens": 50.0}, few={"oxygens": 1})
    assert shell(*CHECK) == 0
    assert "champion 1 of 'alkanes' on 30 fresh molecules: 0.4 [0.4, 0.4]" in shell.out
    assert (
        "compared: carbons; left out: oxygens (1 fresh label, and at least 20 are needed)"
        in shell.out
    )
    table = pd.read_csv(path).assign(oxygens=1.0)
    table.to_csv(path, index=False)
    shell(*CHECK)
    assert "on fresh labels (30 of carbons, 30 of oxygens): " in shell.out


def test_molecules_that_are_left_out_are_counted(shell: Shell, place: Place) -> None:
    champion(place, classification(place))
    smiles = ["C" * n + "Br" for n in range(1, 31)]
    probable = said_by_champion(place, smiles)["carbons_mean"].astype(float)
    table = pd.DataFrame({"smiles": smiles, "carbons": (probable > probable.median()) * 1})
    both = table.iloc[:2].assign(carbons=lambda own: 1 - own["carbons"])
    again = pd.DataFrame({"smiles": TEST_ROWS, "carbons": [y % 2 for y in LABELS]})
    pd.concat([table, both, again]).to_csv("fresh.csv", index=False)
    assert shell(*CHECK) == 0
    assert "2 molecules were measured as both classes, which does not count" in shell.err
    assert "since the champion was tested on them" in shell.err


def test_where_nothing_can_be_compared_the_champion_stays(shell: Shell, place: Place) -> None:
    champion(place, classification(place))
    smiles = ["C" * n + "Br" for n in range(1, 31)]
    pd.DataFrame({"smiles": smiles, "carbons": 1}).to_csv("fresh.csv", index=False)
    assert shell(*CHECK) == 0
    assert "champion 1 of 'alkanes' cannot be compared" in shell.out
    assert "carbons (0 fresh labels of the rarer class, and at least 5 are needed)" in shell.out
