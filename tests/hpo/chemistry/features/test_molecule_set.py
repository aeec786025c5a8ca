"""Molecules of many folds are featurised once; each fold is what it would be by itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import DataConfig, SplitConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.features import molecule_set
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.molecule_set import MoleculeSet, featurise_folds
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds

ATOMS = ("V2", "RIGR")
FEATURES = ("rdkit_2d", "charge")  # the first has no partial charges for a metal
ROWS = "CCO,1\nOCC,2\n[Na+].[Cl-],3\nc1ccccc1,4\nCCN,\n[Fe],6\nCCO,1.5\nC,8\nCCCl,9\n[H][H],10\n"


@pytest.fixture
def config(tmp_path: Path) -> SweepConfig:
    path = tmp_path / "data.csv"
    rows = "".join(f"{'C' * n}O,{n}\n" for n in range(3, 15))
    path.write_text("smiles,y\n" + ROWS + rows)
    data = DataConfig(file=path, target_cols=("y",), target_transforms=("log10p1",))
    return SweepConfig(data=data, split=SplitConfig(n_splits=2, n_folds=3))


@pytest.fixture
def tables(config: SweepConfig) -> dict[tuple[int, int], FoldTables]:
    return read_folds(config, fold_list(config))


@pytest.fixture
def molecules(config: SweepConfig, tables: dict[tuple[int, int], FoldTables]) -> MoleculeSet:
    return featurise_folds(tables, config, ATOMS, FEATURES)


def assert_same(one: Fold, other: Fold) -> None:
    assert set(one.graphs) == set(other.graphs)
    for mode, packed in one.graphs.items():
        assert packed.fingerprint == other.graphs[mode].fingerprint
        rows = np.arange(len(other.graphs[mode]))[::-1]
        ours, theirs = packed.batch(rows), other.graphs[mode].batch(rows)
        for name in ("V", "E", "edge_index", "rev_edge_index", "batch"):
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
    for name, vectors in one.vectors.items():
        assert vectors.tobytes() == other.vectors[name].tobytes()
        assert one.fillings[name].means.tobytes() == other.fillings[name].means.tobytes()
    assert set(one.vectors) == set(other.vectors)
    for name in ("targets", "train", "validation"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("target_cols", "transforms", "weights", "task", "notes"):
        assert getattr(one, name) == getattr(other, name)


def test_each_fold_is_bit_for_bit_what_it_would_be_by_itself(
    config: SweepConfig, tables: dict[tuple[int, int], FoldTables], molecules: MoleculeSet
) -> None:
    there = pickle.loads(pickle.dumps(molecules))
    assert len(tables) == 6
    assert molecules.vectors["rdkit_2d"].shape[0] == len(molecules)
    assert not np.isfinite(molecules.vectors["rdkit_2d"]).all()
    for (split, fold), own in tables.items():
        assert_same(there.fold(split, fold), featurise_fold(own, config, ATOMS, FEATURES))


def test_a_fold_has_only_what_a_training_asks_for(molecules: MoleculeSet) -> None:
    fold = molecules.fold(1, 2, ["V2"], [])
    assert set(fold.graphs) == {"V2"}
    assert not fold.vectors


def test_the_graphs_of_all_folds_are_in_the_same_memory(molecules: MoleculeSet) -> None:
    whole = molecules.graphs["V2"]
    for split, number in molecules.folds:
        of_fold = molecules.fold(split, number, ["V2"], []).graphs["V2"]
        for name in ("_atoms", "_bonds", "_edge_index", "_rev_edge_index"):
            assert getattr(of_fold, name) is getattr(whole, name)


def test_a_molecule_is_featurised_once_however_many_folds_have_it(
    config: SweepConfig,
    tables: dict[tuple[int, int], FoldTables],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int] = []
    featurise = molecule_set.featurise
    monkeypatch.setattr(
        molecule_set, "featurise", lambda m, mode: counted.append(len(m)) or featurise(m, mode)
    )
    found = featurise_folds(tables, config, ["V2"], [])
    parts = [part for fold in tables.values() for part in (fold.train, fold.validation)]
    assert counted == [len({smiles for part in parts for smiles in part.smiles})] == [len(found)]
    # Two ways of writing one molecule are two: their atoms come in another order.
    assert found.folds[0, 0].n_train == len(tables[0, 0].train)


def test_the_row_of_a_molecule_without_a_feature_is_named(
    config: SweepConfig,
    tables: dict[tuple[int, int], FoldTables],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chemprop.featurizers import MoleculeFeaturizerRegistry

    class Fails:
        def __len__(self) -> int:
            return 1

        def __call__(self, molecule: object) -> None:
            raise ValueError("no such thing")

    monkeypatch.setitem(MoleculeFeaturizerRegistry, "charge", Fails)
    first = tables[0, 0].train.rows[0]
    with pytest.raises(DataError, match=rf"data\.csv: row {first}: charge cannot be computed"):
        featurise_folds(tables, config, ["V2"], ["charge"])
