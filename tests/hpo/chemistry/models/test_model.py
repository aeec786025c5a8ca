import re

import numpy as np
import pytest
import torch
from chemprop.models import MPNN
from chemprop.models.utils import load_model as load_stock_model
from chemprop.models.utils import load_output_columns
from chemprop.nn import MAE, MSE, RMSE, BCELoss
from lightning.pytorch import Trainer
from rdkit import Chem

from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.features.batches import Batches
from chemprop_hpo.hpo.chemistry.features.featurising import featurise
from chemprop_hpo.hpo.chemistry.models.checkpoints import CheckpointError
from chemprop_hpo.hpo.chemistry.models.model import build_model, load_model, save_model
from chemprop_hpo.hpo.chemistry.training.fitting import predict

HEADS = ["regression", "branched", "mixture_of_experts"]
SMALL = {"message_hidden_dim": 16, "hidden_dim": 8, "trunk_hidden_dim": 8, "depth": 2}


def make(fold, criterion="MSE", **changes):
    torch.manual_seed(0)
    model = ModelConfig.model_validate(SMALL | changes)
    return build_model(model, OptimizationConfig(criterion=criterion), fold), model


def predictions(built, model, fold):
    return predict(built, Batches(fold, model), np.arange(len(fold.targets)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"message_passing": "atom", "aggregation": "sum", "activation": "TANH"},
        {"aggregation": "norm", "aggregation_norm": 7.0, "batch_norm": True, "undirected": True},
        {"message_bias": True, "activation": "PRELU", "dropout": 0.2, "depth": 1},
        {"molecule_features": "charge+morgan_binary", "ffn_type": "branched"},
    ],
)
def test_every_architecture_predicts(make_fold, changes):
    fold = make_fold(2, features=("charge", "morgan_binary"))
    built, model = make(fold, **changes)
    outputs = predictions(built, model, fold)
    assert outputs.shape == (70, 2)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("atom_features", ["V1", "V2", "ORGANIC", "RIGR"])
def test_every_atom_featurizer_fits(make_fold, atom_features):
    molecules = [Chem.MolFromSmiles(s) for s in ("CCO", "C", "c1ccccc1")]
    graphs = {atom_features: featurise(molecules, atom_features)}
    fold = make_fold(n_train=2, n_val=1, graphs=graphs)
    built, model = make(fold, atom_features=atom_features)
    assert predictions(built, model, fold).shape == (3, 1)


def test_predictions_are_in_target_units(make_fold):
    fold = make_fold(2)
    built, _ = make(fold)
    transform = built.predictor.output_transform
    np.testing.assert_allclose(transform.mean[0], fold.targets[fold.train].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(transform.scale[0], fold.targets[fold.train].std(axis=0), rtol=1e-6)


def test_a_missing_label_is_left_out_of_the_scaling(make_fold):
    fold = make_fold(2, missing=[(0, 1), (3, 1)])
    built, _ = make(fold)
    labels = fold.targets[fold.train][:, 1]
    assert float(built.predictor.output_transform.mean[0, 1]) == pytest.approx(np.nanmean(labels))


def test_descriptors_are_scaled_by_training_rows_and_fingerprints_are_not(make_fold):
    fold = make_fold(features=("rdkit_2d", "morgan_count"))
    built, _ = make(fold, molecule_features="rdkit_2d+morgan_count")
    mean, scale = built.X_d_transform.mean[0].numpy(), built.X_d_transform.scale[0].numpy()
    descriptors = fold.vectors["rdkit_2d"]
    width = descriptors.shape[1]
    expected = descriptors[fold.train].astype(float)
    np.testing.assert_allclose(mean[:width], expected.mean(axis=0), rtol=1e-5, atol=1e-6)
    varied = expected.std(axis=0) > 1e-3
    np.testing.assert_allclose(scale[:width][varied], expected.std(axis=0)[varied], rtol=1e-5)
    constant = (expected == expected[0]).all(axis=0)
    assert constant.any()
    assert (scale[:width][constant] == 1).all()
    assert (mean[width:] == 0).all()
    assert (scale[width:] == 1).all()
    assert built.predictor.input_dim == 16 + width + 2048


@pytest.mark.parametrize(("name", "kind"), [("MSE", MSE), ("MAE", MAE), ("RMSE", RMSE)])
def test_the_criterion_is_chemprops_own_with_the_weights_of_the_targets(make_fold, name, kind):
    built, _ = make(make_fold(2, weights=(0.5, 1.5)), criterion=name)
    assert type(built.criterion) is kind
    assert built.criterion.task_weights.tolist() == [[0.5, 1.5]]


def test_a_classification_has_cross_entropy_and_no_scaling(make_fold):
    built, _ = make(make_fold(2, task="classification"))
    assert type(built.criterion) is BCELoss
    assert isinstance(built.predictor.output_transform, torch.nn.Identity)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("head", HEADS)
def test_a_saved_model_is_bit_equal_when_chemprop_loads_it(make_fold, tmp_path, head, task):
    fold = make_fold(2, task=task, features=("rdkit_2d",))
    built, model = make(fold, ffn_type=head, batch_norm=True, molecule_features="rdkit_2d")
    path = tmp_path / "model.pt"
    save_model(built, path, fold.target_cols)
    loaded = load_stock_model(path)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in built.state_dict().items())
    assert np.array_equal(predictions(loaded, model, fold), predictions(built, model, fold))
    assert load_output_columns(path) == ["carbons", "oxygens"]
    assert np.array_equal(
        predictions(load_model(path), model, fold), predictions(built, model, fold)
    )


@pytest.mark.parametrize("head", HEADS)
def test_a_lightning_checkpoint_is_bit_equal_when_loaded(make_fold, tmp_path, head):
    fold = make_fold(2)
    built, model = make(fold, ffn_type=head)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(built)
    trainer.save_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    loaded = MPNN.load_from_checkpoint(tmp_path / "model.ckpt")
    assert np.array_equal(predictions(loaded, model, fold), predictions(built, model, fold))


def test_a_plain_model_names_nothing_that_is_not_chemprops(make_fold, tmp_path):
    fold = make_fold(features=("rdkit_2d",))
    for head, names_us in (("regression", False), ("branched", True)):
        built, _ = make(fold, criterion="RMSE", molecule_features="rdkit_2d", ffn_type=head)
        save_model(built, tmp_path / head, fold.target_cols)
        assert (b"chemprop_hpo" in (tmp_path / head).read_bytes()) == names_us


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("head", ["branched", "mixture_of_experts"])
def test_a_saved_model_names_the_module_that_earlier_ones_name(make_fold, tmp_path, head, task):
    built, _ = make(make_fold(2, task=task), ffn_type=head)
    save_model(built, tmp_path / "model.pt", ["carbons", "oxygens"])
    names = re.findall(rb"chemprop_hpo[\w.]*", (tmp_path / "model.pt").read_bytes())
    assert set(names) == {b"chemprop_hpo.hpo.chemistry.heads"}


def test_a_damaged_model_is_one_clear_error(make_fold, tmp_path):
    fold = make_fold()
    save_model(make(fold)[0], tmp_path / "model.pt", fold.target_cols)
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "short.pt").write_bytes(content[: len(content) // 2])
    for name in ("short.pt", "absent.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_model(tmp_path / name)
