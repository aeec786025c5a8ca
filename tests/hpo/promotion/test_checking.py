"""The champion is held against fresh measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from chemprop_hpo.configs.errors import (
    DataError,
)
from chemprop_hpo.hpo.predictor.predicting import Ensemble
from chemprop_hpo.hpo.promotion.candidate import register_candidate
from chemprop_hpo.hpo.promotion.checking import check_champion
from tests.hpo.promotion.made_champions import (
    TWO,
    champion,
    classification,
    fresh_file,
    regression_of_two,
    said_by_champion,
)
from tests.hpo.promotion.made_registry import (
    LABELS,
    TEST_ROWS,
    Place,
    promoted,
    training_molecules,
)


def fresh(place: Place, error: float, rows: int = 30) -> Path:
    """Write labels that are off by so much from what the champion says."""
    return fresh_file(place, {"carbons": error}, rows)


def test_a_champion_that_holds_on_fresh_labels_is_kept(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    done = check_champion(place.registry(), place.config, fresh(place, 0.55))
    assert not done.decision.allowed
    assert done.fresh.figure.value == pytest.approx(0.55, rel=1e-5)
    assert (done.champion, done.fresh.rows, done.trained_on) == ("1", 30, 0)


def test_a_champion_that_fails_on_fresh_labels_is_to_be_rolled_back(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    registry, config = place.registry(), place.config
    assert check_champion(registry, config, fresh(place, 2.0)).decision.allowed
    few = check_champion(registry, config, fresh(place, 2.0, rows=5))
    assert [rule.name for rule in few.decision.blocked] == ["fresh_rows"]


def test_molecules_that_the_champion_was_trained_on_are_left_out(place: Place) -> None:
    predictor = place.predictor()
    with place.ledger() as ledger:
        register_candidate(place.registry(), ledger, place.config, predictor)
    promoted(place)
    path = fresh(place, 0.5)
    table = pd.read_csv(path)
    trained_on = [s for s in training_molecules(predictor) if Chem.CanonSmiles(s) == s]
    known = pd.DataFrame({"smiles": trained_on[:7], "carbons": 1000.0})
    pd.concat([table, known]).to_csv(path, index=False)
    done = check_champion(place.registry(), place.config, path)
    assert (done.trained_on, done.fresh.rows) == (7, 30)
    known.to_csv(path, index=False)
    with pytest.raises(
        DataError, match="the champion was trained or tested on every molecule in it"
    ):
        check_champion(place.registry(), place.config, path)


def test_repeats_of_a_molecule_are_no_further_evidence(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    path = fresh(place, 2.0, rows=1)
    table = pd.read_csv(path)
    pd.concat([table] * 40).to_csv(path, index=False)
    done = check_champion(place.registry(), place.config, path)
    assert done.fresh.rows == 1
    assert not done.decision.allowed


def test_a_file_without_the_targets_is_refused(place: Place) -> None:
    place.candidate()
    promoted(place)
    (place.folder / "other.csv").write_text("smiles,logS\nCCBr,1\n")
    with pytest.raises(
        DataError, match="has none of the champion's targets as a column: 'carbons'"
    ):
        check_champion(place.registry(), place.config, place.folder / "other.csv")


def test_test_rows_that_come_back_do_not_hide_a_drift(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    path = fresh(place, 2.0)
    written_anew = [smiles[::-1] for smiles in TEST_ROWS]  # the same alcohols from the other end
    again = pd.DataFrame({"smiles": written_anew, "carbons": LABELS})
    pd.concat([pd.read_csv(path), again]).to_csv(path, index=False)
    known = set(training_molecules(place.folder / "ensembles_1" / "combined"))
    done = check_champion(place.registry(), place.config, path)
    assert done.trained_on == sum(smiles in known for smiles in TEST_ROWS)
    assert done.trained_on + done.tested_on == len(TEST_ROWS)
    assert done.tested_on > 0
    assert done.fresh.figure.value == pytest.approx(2.0, rel=1e-5)


# ------------------------------------------------------------------ several targets


def test_an_empty_column_does_not_roll_back_a_champion_that_holds(place: Place) -> None:
    # Over both targets the registered NRMSE would be 0.3.
    better = {**TWO, "test_rmse/oxygens": 0.1}
    champion(place, regression_of_two(place, metrics=better))
    path = fresh_file(place, {"carbons": 0.8, "oxygens": 0.1}, few={"oxygens": 0})
    done = check_champion(place.registry(), place.config, path)
    assert not done.decision.allowed
    assert done.fresh.figure.value == pytest.approx(0.4, rel=1e-5)
    assert done.fresh.labels == {"carbons": 30}
    assert "oxygens (no fresh label that is predicted)" in done.decision.rules[0].text


def test_one_label_of_another_target_does_not_roll_back(place: Place) -> None:
    champion(place, regression_of_two(place))
    path = fresh_file(place, {"carbons": 0.8, "oxygens": 50.0}, few={"oxygens": 1})
    done = check_champion(place.registry(), place.config, path)
    assert not done.decision.allowed
    assert list(done.fresh.left_out) == ["oxygens"]


def test_an_untested_column_does_not_keep_a_champion_that_fails(place: Place) -> None:
    metrics = {name: value for name, value in TWO.items() if not name.endswith("/oxygens")}
    champion(place, regression_of_two(place, tested=["carbons"], metrics=metrics))
    path = fresh_file(place, {"carbons": 4.0, "oxygens": 0.0})
    assert check_champion(place.registry(), place.config, path).decision.allowed


def test_fresh_labels_of_both_targets_are_compared_as_an_nrmse(place: Place) -> None:
    champion(place, regression_of_two(place))
    path = fresh_file(place, {"carbons": 2.0, "oxygens": 0.5})
    done = check_champion(place.registry(), place.config, path)
    assert done.decision.allowed
    assert done.fresh.figure.value == pytest.approx(1.0, rel=1e-5)


# ------------------------------------------------------------------ classes


def classes_file(place: Place, *, right: bool, conflicting: int = 0) -> Path:
    """Write classes in the order of the probabilities or against it, some as both classes."""
    smiles = ["C" * n + "Br" for n in range(1, 31)]
    probable = said_by_champion(place, smiles)["carbons_mean"].astype(float)
    classes = (probable > probable.median()) == right
    table = pd.DataFrame({"smiles": smiles, "carbons": classes.astype(int)})
    both = table.iloc[:conflicting].assign(carbons=lambda own: 1 - own["carbons"])
    path = place.folder / "fresh.csv"
    pd.concat([table, both]).to_csv(path, index=False)
    return path


def test_a_classification_is_kept_or_rolled_back_by_its_area(place: Place) -> None:
    champion(place, classification(place))
    kept, failed = (
        check_champion(place.registry(), place.config, classes_file(place, right=right))
        for right in (True, False)
    )
    assert (kept.fresh.figure.value, kept.decision.allowed) == (1.0, False)
    assert (failed.fresh.figure.value, failed.decision.allowed) == (0.0, True)


def test_molecules_of_both_classes_do_not_count(place: Place) -> None:
    champion(place, classification(place))
    path = classes_file(place, right=False, conflicting=3)
    done = check_champion(place.registry(), place.config, path)
    assert (done.conflicting, done.fresh.labels) == (3, {"carbons": 27})
    assert done.decision.allowed


def test_fresh_labels_of_one_class_define_no_area(place: Place) -> None:
    champion(place, classification(place))
    path = classes_file(place, right=True)
    pd.read_csv(path).assign(carbons=1).to_csv(path, index=False)
    done = check_champion(place.registry(), place.config, path)
    assert [rule.name for rule in done.decision.blocked] == ["fresh_targets"]
    assert "0 fresh labels of the rarer class, and at least 5 are needed" in done.decision.reason


# ------------------------------------------------------------------ predictions that are none


def test_labels_without_a_finite_prediction_are_counted_and_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.candidate(0.6)
    promoted(place)
    path, predict = fresh(place, 0.55), Ensemble.predict

    def and_overflow(ensemble: Ensemble, smiles: list[str]) -> pd.DataFrame:
        said = predict(ensemble, smiles)
        said.loc[:1, "carbons_mean"] = [np.inf, -np.inf]
        return said

    monkeypatch.setattr(Ensemble, "predict", and_overflow)
    done = check_champion(place.registry(), place.config, path)
    assert (done.unpredicted, done.fresh.rows) == (2, 28)
    assert done.fresh.figure.value == pytest.approx(0.55, rel=1e-5)
