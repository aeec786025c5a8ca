from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from chemprop.data import MoleculeDatapoint, MoleculeDataset, build_dataloader
from chemprop.models import load_model as load_stock_model
from rdkit import Chem

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.chemistry.features.featurising import graph_featurizer
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import molecule_vectors
from chemprop_hpo.hpo.predictor import load_ensemble, write_predictor
from chemprop_hpo.hpo.predictor.manifest import Target
from tests.hpo.predictor.conftest import TARGETS
from tests.hpo.predictor.made_predictors import CALIBRATION, make_content, make_fold, make_member

MOLECULES = ["CCO", "OCCCN", "ClCCCCCC", "[K+].[Br-]", "CC(C)CCCO"]
WEIGHTS = np.array([[0.5, 0.0], [0.25, 0.4], [0.25, 0.6]])


@pytest.fixture(scope="module")
def ensemble(two_targets):
    return load_ensemble(two_targets)


def by_stock_chemprop(member, smiles):
    """Predict as Chemprop does by itself: its own loader, model and forward."""
    molecules = [Chem.MolFromSmiles(s) for s in smiles]
    vectors = [
        member.fillings[name].fill(molecule_vectors(molecules, name, smiles))
        for name in member.model.molecule_feature_names
    ]
    points = [
        MoleculeDatapoint(mol, x_d=np.concatenate([v[i] for v in vectors]) if vectors else None)
        for i, mol in enumerate(molecules)
    ]
    data = MoleculeDataset(points, graph_featurizer(member.model.atom_features))
    (batch,) = build_dataloader(data, len(points), shuffle=False)
    model = load_stock_model(member.model_file).eval()
    return model(batch.bmg, None, batch.X_d).detach().double().numpy()


@pytest.fixture(scope="module")
def by_hand(members):
    return np.stack([by_stock_chemprop(member, MOLECULES) for member in members])


def test_each_member_says_what_stock_chemprop_says(ensemble, by_hand):
    np.testing.assert_allclose(ensemble.member_outputs(MOLECULES), by_hand, rtol=1e-5, atol=1e-6)


def test_undefined_descriptors_are_filled_as_in_training():
    raw = molecule_vectors([Chem.MolFromSmiles(MOLECULES[3])], "rdkit_2d", [""])
    assert not np.isfinite(raw).all()  # or the test above would not show that they are


def test_members_say_nothing_of_a_bad_molecule(ensemble):
    outputs = ensemble.member_outputs(["CCO", "nonsense", *MOLECULES])
    assert np.isnan(outputs[:, 1]).all()
    np.testing.assert_allclose(
        outputs[:, 2:], ensemble.member_outputs(MOLECULES), rtol=1e-5, atol=1e-6
    )


def test_a_mean_is_weighted_and_its_transform_undone(ensemble, by_hand):
    predicted = ensemble.predict(MOLECULES)
    means = np.einsum("mnt,mt->nt", by_hand, WEIGHTS)
    np.testing.assert_allclose(predicted["carbons_mean"], means[:, 0], rtol=1e-5)
    np.testing.assert_allclose(predicted["oxygens_mean"], 10 ** means[:, 1] - 1, rtol=1e-4)


def test_a_spread_is_that_of_members_with_a_weight_in_original_units(ensemble, by_hand):
    predicted = ensemble.predict(MOLECULES)
    undone = 10 ** by_hand[1:, :, 1] - 1  # the first has no weight for this target
    mean = 0.4 * undone[0] + 0.6 * undone[1]
    variance = 0.4 * (undone[0] - mean) ** 2 + 0.6 * (undone[1] - mean) ** 2
    expected = np.sqrt(variance / (1 - 0.4**2 - 0.6**2))
    np.testing.assert_allclose(predicted["oxygens_std"], expected, rtol=1e-4)


def test_intervals_are_made_in_transformed_units_and_their_ends_undone(ensemble, by_hand):
    predicted = ensemble.predict(MOLECULES)
    outputs = by_hand[1:, :, 1]
    mean = 0.4 * outputs[0] + 0.6 * outputs[1]
    std = np.abs(outputs[0] - outputs[1]) * np.sqrt(0.4 * 0.6 / (1 - 0.4**2 - 0.6**2))
    half = 1.6 * np.hypot(2.0 * std, 0.1)
    np.testing.assert_allclose(predicted["oxygens_low_90"], 10 ** (mean - half) - 1, rtol=1e-4)
    np.testing.assert_allclose(predicted["oxygens_high_90"], 10 ** (mean + half) - 1, rtol=1e-4)
    assert predicted["oxygens_low_95"].isna().all()


def test_columns_are_as_promised(ensemble):
    predicted = ensemble.predict(MOLECULES)
    parts = ["mean", "std", "low_80", "high_80", "low_90", "high_90", "low_95", "high_95"]
    of_targets = [f"{t.name}_{part}" for t in TARGETS for part in parts]
    expected = [*of_targets, "similarity", "far", "valid", "error"]
    assert list(predicted.columns) == ["smiles", *expected]
    assert list(ensemble.columns) == expected
    assert predicted["smiles"].tolist() == MOLECULES
    assert predicted["valid"].dtype == bool


def test_bad_molecules_get_a_reason_and_the_others_are_not_touched(ensemble):
    bad = [
        "nonsense",
        "",
        None,
        float("nan"),
        pd.NA,
        ["C"],
        "C(C)(C)(C)(C)C",
        "CCO\nCCN",
        "C\udcb5",
    ]
    predicted = ensemble.predict([*bad[:5], *MOLECULES, *bad[5:]])
    assert predicted["valid"].tolist() == [False] * 5 + [True] * 5 + [False] * 4
    alone = ensemble.predict(MOLECULES)
    pd.testing.assert_frame_equal(predicted[predicted.valid].reset_index(drop=True), alone)
    errors = predicted["error"].tolist()
    assert errors[0] == "not a valid SMILES"
    assert errors[1:5] == ["there is no SMILES"] * 4
    assert errors[10] == "a SMILES is text, not list"
    assert "greater than permitted" in errors[11]
    assert "line break" in errors[12]
    assert errors[13].startswith("RDKit cannot read this SMILES")
    numbers = predicted.loc[~predicted.valid].drop(columns=["smiles", "valid", "error"])
    assert numbers.isna().all(axis=None)


def _failing(_):
    raise ValueError("in two\nlines")


def test_a_molecule_whose_descriptor_fails_gets_its_reason(ensemble, monkeypatch):
    from chemprop_hpo.hpo.chemistry.features import molecule_vectors as module

    real = module._vector

    def failing(featurize, molecule, feature, place):
        if feature == "charge" and molecule.GetNumAtoms() == 3:
            return real(_failing, molecule, feature, place)
        return real(featurize, molecule, feature, place)

    alone = ensemble.predict(MOLECULES)
    monkeypatch.setattr(module, "_vector", failing)
    predicted = ensemble.predict(MOLECULES)
    reason = "charge cannot be computed for this molecule (in two lines)"
    assert predicted["error"].tolist() == [reason, "", "", "", ""]
    pd.testing.assert_frame_equal(predicted[1:], alone[1:])


def test_a_prediction_that_is_no_number_is_an_error_of_its_row(ensemble, monkeypatch):
    from chemprop_hpo.hpo.predictor import panel

    def wild(members, features):
        outputs = np.ones((len(members), 2, 2))
        outputs[1, 0, 1] = np.inf
        return outputs

    monkeypatch.setattr(panel, "outputs_of", wild)
    predicted = ensemble.predict(["CCO", "CCN"])
    assert predicted["error"].tolist() == ["the models' prediction is not a finite number", ""]
    assert np.isnan(predicted["oxygens_mean"][0])
    assert predicted["carbons_mean"][1] == 1.0


def test_chunks_change_nothing(ensemble, monkeypatch):
    from chemprop_hpo.hpo.predictor import panel

    smiles = [*MOLECULES, "nonsense", *MOLECULES]
    whole, outputs = ensemble.predict(smiles), ensemble.member_outputs(smiles)
    monkeypatch.setattr(panel, "CHUNK", 2)
    in_parts = ensemble.predict(iter(smiles))
    pd.testing.assert_frame_equal(in_parts, whole, rtol=1e-5)
    np.testing.assert_allclose(ensemble.member_outputs(smiles), outputs, rtol=1e-5, atol=1e-6)


def test_no_molecules_make_an_empty_table_with_all_columns(ensemble):
    predicted = ensemble.predict([])
    assert len(predicted) == 0
    assert list(predicted.columns) == ["smiles", *ensemble.columns]
    assert ensemble.member_outputs([]).shape == (3, 0, 2)


def test_only_bad_molecules_make_a_table_of_reasons(ensemble):
    assert ensemble.predict(["nonsense"])["error"].tolist() == ["not a valid SMILES"]


def test_one_text_is_not_taken_for_many_molecules(ensemble):
    with pytest.raises(UsageError, match=r"\[smiles\]"):
        ensemble.predict("CCO")


def test_far_molecules_are_marked(ensemble):
    predicted = ensemble.predict(["CCCO", "c1ccc2c(c1)C(=O)N(S2)c1ccccn1", "nonsense"])
    assert predicted["similarity"][0] == 1.0
    assert predicted["similarity"][1] < 0.3
    assert predicted["far"].tolist()[:2] == [False, True]
    assert predicted["far"].isna()[2]


def test_a_single_member_has_no_spread_and_intervals_by_the_floor(small, tmp_path):
    write_predictor(tmp_path / "one", small)
    predicted = load_ensemble(tmp_path / "one").predict(["CCO"])
    assert predicted["carbons_std"].isna().all()
    width = predicted["carbons_high_80"] - predicted["carbons_low_80"]
    assert width[0] == pytest.approx(2 * 1.2 * CALIBRATION.floor)


def test_a_classification_gives_probabilities_and_no_intervals(tmp_path):
    fold = make_fold(task="classification")
    members = [
        make_member(tmp_path, fold, weights=(0.3,)),
        make_member(tmp_path, fold, number=1, weights=(0.7,), ffn_type="branched"),
    ]
    targets = (Target(name="active"),)
    content = make_content(members, targets, task="classification", calibrations={})
    write_predictor(tmp_path / "predictor", content)
    predicted = load_ensemble(tmp_path / "predictor").predict(MOLECULES)
    by_hand = [by_stock_chemprop(member, MOLECULES)[:, 0] for member in members]
    assert list(predicted.columns)[1:4] == ["active_mean", "active_std", "similarity"]
    assert ((by_hand[0] > 0) & (by_hand[0] < 1)).all()
    expected = 0.3 * by_hand[0] + 0.7 * by_hand[1]
    np.testing.assert_allclose(predicted["active_mean"], expected, rtol=1e-5)


def test_the_package_offers_it_lazily(two_targets):
    code = (
        "import sys, chemprop_hpo\n"
        "assert 'torch' not in sys.modules\n"
        "load = chemprop_hpo.load_ensemble\n"
        "assert not {'ray', 'mlflow', 'optuna', 'typer'} & set(sys.modules)\n"
        f"print(load({str(two_targets)!r}).predict(['CCO']).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(1, 21)\n"), done.stderr


def test_the_package_says_what_it_does_not_have():
    import chemprop_hpo

    with pytest.raises(AttributeError, match="load_ensembles"):
        chemprop_hpo.load_ensembles  # noqa: B018


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_predicts_the_same(two_targets, ensemble):
    on_gpu = load_ensemble(two_targets, device="cuda").predict(MOLECULES)
    pd.testing.assert_frame_equal(on_gpu, ensemble.predict(MOLECULES), rtol=1e-3)
