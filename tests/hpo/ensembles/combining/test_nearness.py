"""Similarity of training rows to what the models that left them out were trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from rdkit import Chem
from rdkit.DataStructs import TanimotoSimilarity

from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.ensembles.combining import nearness
from chemprop_hpo.hpo.ensembles.combining.nearness import out_of_fold_similarity
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold, out_of_fold, training_rows
from chemprop_hpo.hpo.predictor.similarity import fingerprint
from tests.hpo.ensembles.scenes import Place, cut, fold, table

SMILES = ["CCO", "CCCO", "CCCCO", "c1ccccc1", "Cc1ccccc1", "CCN"]
WHOLE = table(SMILES)


def predicted(folds: Mapping[Place, FoldTables]) -> OutOfFold:
    outputs = {(1, *place): tables.validation.targets for place, tables in folds.items()}
    return out_of_fold(training_rows([*folds.values()]), folds, outputs)


def alike(one: str, other: str) -> float:
    return TanimotoSimilarity(*(fingerprint(Chem.MolFromSmiles(text)) for text in (one, other)))


def nearest(row: int, trained: list[int]) -> float:
    return max(alike(SMILES[row], SMILES[other]) for other in trained)


def test_a_row_is_compared_with_the_training_molecules_of_its_own_fold() -> None:
    folds = {(0, 0): cut(WHOLE, [0, 1, 2]), (0, 1): cut(WHOLE, [3, 4, 5])}
    found = out_of_fold_similarity(predicted(folds), 0)
    expected = [nearest(i, [3, 4, 5] if i < 3 else [0, 1, 2]) for i in range(6)]
    assert found.tolist() == expected
    assert found[1] < alike("CCCO", "CCCCO")


def test_molecules_that_only_another_fold_was_trained_on_do_not_count() -> None:
    # As in time splits: the second fold is trained on what the first one never saw.
    first = fold(table(["CCN"], path="a/train.csv"), table(["CCO"], path="a/validation.csv"))
    second = fold(
        table(["CCN", "CCO", "CCCO"], path="b/train.csv"),
        table(["CCCCO"], path="b/validation.csv"),
    )
    held_out = predicted({(0, 0): first, (0, 1): second})
    assert held_out.rows.smiles == ("CCN", "CCO", "CCCO", "CCCCO")
    found = out_of_fold_similarity(held_out, 0)
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]].tolist() == [alike("CCO", "CCN"), alike("CCCCO", "CCCO")]


def test_of_several_splits_the_molecules_of_all_models_count() -> None:
    folds = {
        (0, 0): cut(WHOLE, [0, 1, 2]),
        (0, 1): cut(WHOLE, [3, 4, 5]),
        (1, 0): cut(WHOLE, [0, 3]),
        (1, 1): cut(WHOLE, [1, 2, 4, 5]),
    }
    found = out_of_fold_similarity(predicted(folds), 0)
    assert found[0] == nearest(0, [1, 2, 3, 4, 5])
    assert found[1] == nearest(1, [0, 3, 4, 5])


def test_of_many_rows_some_of_each_target_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "MOST_ROWS", 20)
    targets = np.column_stack([np.arange(81.0), np.where(np.arange(81) < 70, np.nan, 1.0)])
    whole = table(["C" * (i + 1) for i in range(81)], targets)
    folds = {(0, k): cut(whole, list(range(k, 81, 3))) for k in range(3)}
    found = out_of_fold_similarity(predicted(folds), 0)
    there = np.isfinite(found)
    assert 15 <= there.sum() <= 20
    assert there[70:].sum() >= 10
    again, other = (out_of_fold_similarity(predicted(folds), seed) for seed in (0, 1))
    assert np.array_equal(found, again, equal_nan=True)
    assert not np.array_equal(found, other, equal_nan=True)
