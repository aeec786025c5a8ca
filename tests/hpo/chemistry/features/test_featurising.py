"""Packed graphs equal Chemprop's own; a fold is featurised once and can be shared."""

from __future__ import annotations

import logging
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from chemprop.data import BatchMolGraph, MoleculeDatapoint, MoleculeDataset
from chemprop.featurizers import MoleculeFeaturizerRegistry
from chemprop.models import MPNN
from chemprop.nn import BondMessagePassing, MeanAggregation, RegressionFFN
from rdkit import Chem

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import DataConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.features import packed_graphs
from chemprop_hpo.hpo.chemistry.features.featurising import (
    feature_dims,
    featurise,
    featurise_fold,
    graph_featurizer,
)
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.chemistry.features.packed_graphs import PackedGraphs
from chemprop_hpo.hpo.chemistry.features.scaling import Scaling
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, read_fold

SMILES = (
    "CCO",
    "C",  # an atom, no bond
    "[Na+].[Cl-]",  # two atoms, no bond
    "c1ccccc1C(=O)N",
    "[H][H]",
    "CC(=O)[O-]",
    "C/C=C/C",
    "N[C@@H](C)C(=O)O",
)
MOLECULES = tuple(Chem.MolFromSmiles(smiles) for smiles in SMILES)
ATOM_FEATURES = ("V1", "V2", "ORGANIC", "RIGR")
PARTS_OF_A_BATCH = ("V", "E", "edge_index", "rev_edge_index", "batch")
# Of the molecules 5, 0, 3 and 3.
FINGERPRINT = "808ac2cd838d9f353e67de3b90376ff76136657efcc91606564e2185b3e66fa6"


def _fold_tables(folder: Path, train: str, validation: str) -> tuple[FoldTables, SweepConfig]:
    (folder / "train.csv").write_text(train)
    (folder / "validation.csv").write_text(validation)
    config = SweepConfig(data=DataConfig(data_dir=folder, target_cols=("y",)))
    return read_fold(config), config


@pytest.fixture
def small_fold(tmp_path: Path) -> tuple[FoldTables, SweepConfig]:
    return _fold_tables(
        tmp_path, "smiles,y\nCCO,1\nC,2.5\nc1ccccc1,\nCCN,3\n", "smiles,y\nCCCC,4\nCO,5\n"
    )


@pytest.mark.parametrize("mode", ATOM_FEATURES)
@pytest.mark.parametrize(
    "rows", [[0, 1, 2], [1], [2, 1], [7, 0, 3], [3, 3, 0], list(range(len(SMILES)))]
)
def test_a_cut_batch_equals_chemprops_own(mode: str, rows: list[int]) -> None:
    featurizer = graph_featurizer(mode)
    expected = BatchMolGraph([featurizer(MOLECULES[row]) for row in rows])
    batch = featurise(MOLECULES, mode).batch(np.array(rows))
    assert len(batch) == len(expected)
    for name in PARTS_OF_A_BATCH:
        ours, theirs = getattr(batch, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), name


def test_a_cut_batch_runs_through_a_chemprop_model_and_moves_between_devices() -> None:
    torch.manual_seed(0)
    model = MPNN(BondMessagePassing(), MeanAggregation(), RegressionFFN()).eval()
    featurizer = graph_featurizer("V2")
    batch = featurise(MOLECULES, "V2").batch(np.array([3, 1, 0]))
    batch.to("cpu")
    expected = model(BatchMolGraph([featurizer(MOLECULES[row]) for row in (3, 1, 0)]))
    assert torch.equal(model(batch), expected)
    batch.to("meta")
    assert {getattr(batch, name).device.type for name in PARTS_OF_A_BATCH} == {"meta"}


def test_a_batch_is_in_memory_of_its_own() -> None:
    packed = featurise(MOLECULES, "V2")
    rows = np.array([0, 3])
    packed.batch(rows).V.zero_()
    assert packed.batch(rows).V.any()


def test_a_batch_of_many_molecules_takes_only_its_own_memory() -> None:
    many = featurise(MOLECULES, "V2").take(np.arange(50_000) % len(SMILES))
    copied = pickle.loads(pickle.dumps(many.take(np.arange(64))))
    tracemalloc.start()
    batch = many.batch(np.arange(64))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 500_000
    assert torch.equal(batch.V, copied.batch(np.arange(64)).V)


@pytest.mark.parametrize("mode", ["V2", "RIGR"])
def test_graphs_are_packed_as_they_come_in_little_more_memory_than_they_fill(mode: str) -> None:
    featurizer = graph_featurizer(mode)
    graphs = [featurizer(molecule) for molecule in MOLECULES]
    tracemalloc.start()
    packed = PackedGraphs.pack(graphs[i % len(graphs)] for i in range(5_000))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1.6 * packed.nbytes


def test_the_same_molecules_have_one_fingerprint_however_they_were_packed() -> None:
    whole = featurise(MOLECULES, "V2")
    some = np.array([5, 0, 3, 3])
    again = featurise([MOLECULES[row] for row in some], "V2")
    assert whole.take(some).fingerprint == again.fingerprint != whole.fingerprint
    # As checkpoints of earlier versions have it.
    assert again.fingerprint == FINGERPRINT


def test_a_fingerprint_of_many_molecules_takes_little_memory_and_does_not_depend_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = featurise(MOLECULES, "V2").take(np.arange(50_000) % len(SMILES))
    tracemalloc.start()
    whole = many.fingerprint
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 15_000_000
    monkeypatch.setattr(packed_graphs, "_ROWS_AT_ONCE", 1_000_000)
    assert many.fingerprint == whole


def test_packed_graphs_know_their_length_and_widths() -> None:
    packed = featurise(MOLECULES, "RIGR")
    assert len(packed) == len(SMILES)
    assert packed.dims == feature_dims("RIGR")
    assert packed.nbytes > 0


@pytest.mark.parametrize(
    ("mode", "dims"),
    [("V1", (133, 14)), ("V2", (72, 14)), ("ORGANIC", (44, 14)), ("RIGR", (52, 2))],
)
def test_feature_widths_are_those_of_chemprop(mode: str, dims: tuple[int, int]) -> None:
    assert feature_dims(mode) == dims


@pytest.mark.parametrize("mode", ATOM_FEATURES)
def test_features_are_those_that_chemprops_own_dataset_computes(mode: str) -> None:
    dataset = MoleculeDataset(
        [MoleculeDatapoint.from_smi(smiles) for smiles in SMILES], graph_featurizer(mode)
    )
    expected = BatchMolGraph([datum.mg for datum in dataset])
    assert torch.equal(featurise(MOLECULES, mode).batch(np.arange(len(SMILES))).V, expected.V)


def test_a_fold_holds_train_and_validation_in_one_packed_array(
    small_fold: tuple[FoldTables, SweepConfig],
) -> None:
    fold = featurise_fold(*small_fold, ["V2", "RIGR"], ["morgan_count", "charge"])
    assert fold.train.tolist() == [0, 1, 2]
    assert fold.validation.tolist() == [3, 4]
    assert fold.targets[:, 0].tolist() == [1, 2.5, 3, 4, 5]
    assert set(fold.graphs) == {"V2", "RIGR"}
    assert {len(packed) for packed in fold.graphs.values()} == {5}
    assert {name: array.shape for name, array in fold.vectors.items()} == {
        "morgan_count": (5, 2048),
        "charge": (5, 1),
    }
    assert fold.target_cols == ("y",)
    assert fold.weights == (1.0,)
    assert fold.transforms == ("none",)
    assert fold.task == "regression"
    assert fold.notes == ()


def test_a_fold_cannot_be_written_to(small_fold: tuple[FoldTables, SweepConfig]) -> None:
    fold = featurise_fold(*small_fold, ["V2"], ["charge"])
    for array in (fold.targets, fold.train, fold.validation, fold.vectors["charge"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_fold_pickled_out_of_band_is_the_same_in_read_only_memory(
    small_fold: tuple[FoldTables, SweepConfig],
) -> None:
    fold = featurise_fold(*small_fold, ["V2"], ["charge"])
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(fold, protocol=5, buffer_callback=buffers.append)
    read_only = [bytes(buffer) for buffer in buffers]
    copy = pickle.loads(head, buffers=read_only)
    assert len(head) < 5_000, "the arrays must travel beside the pickle, not in it"
    assert sum(len(buffer) for buffer in read_only) < 2 * fold.nbytes
    expected = fold.graphs["V2"].batch(fold.train)
    assert torch.equal(copy.graphs["V2"].batch(copy.train).V, expected.V)


def test_a_fold_takes_the_scaling_of_its_features_along(
    small_fold: tuple[FoldTables, SweepConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = featurise_fold(*small_fold, ["V2"], ["rdkit_2d", "morgan_binary"])
    expected = Scaling.of(fold.vectors["rdkit_2d"][fold.train])
    there = pickle.loads(pickle.dumps(fold))

    def again(values: object) -> Scaling:
        raise AssertionError("scaled a second time, in another process")

    monkeypatch.setattr(Scaling, "of", again)
    assert np.array_equal(there.scalings["rdkit_2d"].means, expected.means)
    assert np.array_equal(there.scalings["rdkit_2d"].scales, expected.scales)
    assert not there.scalings["morgan_binary"].means.any()


@pytest.mark.parametrize(
    "feature",
    [
        "morgan_binary",
        "morgan_count",
        "rdkit_2d",
        "v1_rdkit_2d",
        "v1_rdkit_2d_normalized",
        "charge",
    ],
)
def test_molecule_vectors_are_chemprops_own(
    small_fold: tuple[FoldTables, SweepConfig],
    feature: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="chemprop")
    fold = featurise_fold(*small_fold, ["V2"], [feature])
    featurize = MoleculeFeaturizerRegistry[feature]()
    expected = np.array([featurize(molecule) for molecule in small_fold[0].train.molecules])
    finite = np.isfinite(expected.astype(np.float32))
    assert finite.mean() > 0.9
    ours = fold.vectors[feature][fold.train]
    assert np.array_equal(ours[finite], expected.astype(np.float32)[finite])


def test_an_undefined_descriptor_becomes_the_training_mean_and_is_counted(tmp_path: Path) -> None:
    tables, config = _fold_tables(
        tmp_path, "smiles,y\nCCO,1\nCCCN,2\nC[Hg]C,3\n", "smiles,y\nCCC,1\nC[Sn](C)(C)C,5\n"
    )
    fold = featurise_fold(tables, config, ["V2"], ["rdkit_2d"])
    vectors = fold.vectors["rdkit_2d"]
    featurize = MoleculeFeaturizerRegistry["rdkit_2d"]()
    raw = [featurize(molecule) for molecule in tables.train.molecules]
    undefined = np.flatnonzero(~np.isfinite(raw[2]) & np.isfinite(raw[0]) & np.isfinite(raw[1]))
    assert len(undefined) > 0
    assert np.isfinite(vectors).all()
    mean = np.mean([raw[0][undefined], raw[1][undefined]], axis=0)
    np.testing.assert_allclose(vectors[2][undefined], mean, rtol=1e-6)
    np.testing.assert_array_equal(vectors[4][undefined], vectors[2][undefined])
    assert len(fold.notes) == 1
    assert "of 2 molecules are undefined" in fold.notes[0]
    np.testing.assert_allclose(fold.fillings["rdkit_2d"].means[undefined], mean, rtol=1e-6)


def test_chemprops_advice_to_its_callers_does_not_reach_the_user(
    small_fold: tuple[FoldTables, SweepConfig], caplog: pytest.LogCaptureFixture
) -> None:
    featurise_fold(*small_fold, ["V2"], ["rdkit_2d"])
    assert caplog.messages == []
    MoleculeFeaturizerRegistry["rdkit_2d"]()
    assert len(caplog.messages) == 1, "nobody else's warnings are kept back"


def test_a_descriptor_that_no_training_molecule_has_is_filled_with_zero() -> None:
    filling = Filling.of(np.array([[np.nan, 1], [np.inf, 3]], dtype=np.float32))
    assert filling.means.tolist() == [0, 2]
    assert filling.fill(np.array([[5, np.nan]], dtype=np.float32)).tolist() == [[5, 2]]


def test_a_feature_that_cannot_be_computed_names_the_row(
    small_fold: tuple[FoldTables, SweepConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails:
        def __len__(self) -> int:
            return 1

        def __call__(self, molecule: Chem.Mol) -> np.ndarray:
            if molecule.GetNumAtoms() == 1:
                raise ValueError("too small")
            return np.zeros(1)

    monkeypatch.setitem(MoleculeFeaturizerRegistry, "charge", Fails)
    with pytest.raises(DataError, match=r"train\.csv: row 3: charge cannot be .*too small"):
        featurise_fold(*small_fold, ["V2"], ["charge"])
