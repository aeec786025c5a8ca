import copy
from functools import partial

import numpy as np
import pytest
import torch
from rdkit import Chem

from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.features.batches import Batches
from chemprop_hpo.hpo.chemistry.features.featurising import featurise
from chemprop_hpo.hpo.chemistry.models import bond_messages, fast_sums
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import build_model, load_model, save_model

LAYERS = [
    {"message_passing": passing, "aggregation": aggregation}
    for passing in ("bond", "atom")
    for aggregation in ("mean", "norm", "sum")
]


@pytest.fixture(scope="module")
def fold(make_fold):
    return make_fold()


@pytest.fixture(
    params=[*LAYERS, {"undirected": True}], ids=lambda one: "-".join(map(str, one.values()))
)
def settings(request):
    return ModelConfig.model_validate({"message_hidden_dim": 16, "depth": 4} | request.param)


def made(settings, fold):
    torch.manual_seed(0)
    return build_model(settings, OptimizationConfig(), fold).eval()


def test_outputs_and_gradients_are_the_same(settings, fold):
    stock = made(settings, fold)
    quick = quicken(copy.deepcopy(stock))
    batch = Batches(fold, settings).cut(fold.train)
    for model in (stock, quick):
        model.predictor.train_step(model.fingerprint(batch.bmg)).square().sum().backward()
    # Messages between directed bonds are added up in another order.
    is_exact = settings.message_passing == "atom" or settings.undirected
    same = torch.equal if is_exact else partial(torch.allclose, rtol=1e-5, atol=1e-6)
    for (name, one), other in zip(stock.named_parameters(), quick.parameters(), strict=True):
        assert same(one.grad, other.grad), name
    with torch.inference_mode():
        assert same(stock(batch.bmg), quick(batch.bmg))


BOND_LAYERS = (
    {},
    {"message_bias": True},
    {"activation": "PRELU"},
    {"activation": "TANH", "aggregation": "sum"},
    {"depth": 1},
    {"depth": 2},
    {"depth": 3, "message_bias": True},
)
SMILES = {
    "an atom alone": ["C"],
    "atoms without any bond": ["[Na+].[Cl-]", "C"],
    "one bond": ["CC"],
    "terminal atoms only": ["CC", "C=O", "[H][H]"],
    "equal molecules": ["CCO", "CCO", "OCC", "CCCCCC", "CCCCCC"],
    "few bonds alike": ["N#CC(=O)SCF"],
    "no two bonds alike": ["N#CC(=O)F"],
    "bonds that come to differ at the last step or before it": ["CCCCO"],
    "no bond with a message": ["C=O"],
    "branches, rings and parts": ["CC(C)(C)C(F)(F)F", "c1ccc2ccccc2c1", "CCO.[Na+]", "C1CC1", "O"],
}


@pytest.mark.parametrize("smiles", SMILES.values(), ids=SMILES)
@pytest.mark.parametrize("layer", BOND_LAYERS, ids=str)
def test_any_molecules_give_what_stock_chemprop_gives(smiles, layer, fold, make_fold):
    settings = ModelConfig.model_validate({"message_hidden_dim": 16, "depth": 4} | layer)
    stock = made(settings, fold)
    graphs = {"V2": featurise([Chem.MolFromSmiles(one) for one in smiles], "V2")}
    rows = np.arange(len(smiles))
    batch = Batches(make_fold(graphs=graphs), settings).cut(rows)
    quick = quicken(copy.deepcopy(stock))
    for model in (stock, quick):
        model.fingerprint(batch.bmg).square().sum().backward()
    assert torch.allclose(stock.fingerprint(batch.bmg), quick.fingerprint(batch.bmg), atol=1e-6)
    layers = stock.message_passing, quick.message_passing
    pairs = zip(layers[0].named_parameters(), layers[1].parameters(), strict=True)
    largest = max(float(one.grad.abs().max()) for one in stock.parameters() if one.grad is not None)
    for (name, one), other in pairs:
        if layer.get("depth") == 1 and name == "W_h.weight":
            assert one.grad is other.grad is None
        else:
            assert float((one.grad - other.grad).abs().max()) <= 1e-5 * largest, name


class Weakened(torch.nn.Module):
    """Stands where dropout does, and treats all numbers alike."""

    def forward(self, values):
        return 0.7 * values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_double_precision_is_kept(dtype, fold):
    settings = ModelConfig(message_hidden_dim=16, depth=3)
    stock = made(settings, fold).to(dtype)
    bmg = Batches(fold, settings).cut(fold.train).bmg
    bmg.V, bmg.E = bmg.V.to(dtype), bmg.E.to(dtype)
    ours = quicken(copy.deepcopy(stock)).message_passing(bmg)
    close = 1e-6 if dtype == torch.float32 else 1e-13
    assert torch.allclose(ours, stock.message_passing(bmg), atol=close, rtol=close)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_dropout_comes_where_stock_chemprop_has_it(depth, fold, monkeypatch):
    settings = ModelConfig(message_hidden_dim=16, depth=depth, dropout=0.3)
    batch = Batches(fold, settings).cut(fold.train)
    stock = made(settings, fold).train().message_passing
    ours = quicken(made(settings, fold)).train().message_passing
    stock.dropout = Weakened()
    for module in (bond_messages, fast_sums):
        monkeypatch.setattr(module, "dropped_out", lambda values, p: (1 - p) * values)
    for layer in (stock, ours):
        layer(batch.bmg).square().sum().backward()
    assert torch.allclose(stock(batch.bmg), ours(batch.bmg), rtol=1e-5, atol=1e-6)
    for one, other in zip(stock.parameters(), ours.parameters(), strict=True):
        if one.grad is not None:
            assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_a_seed_decides_what_dropout_drops(fold):
    settings = ModelConfig(message_hidden_dim=16, depth=4, dropout=0.3)
    batch = Batches(fold, settings).cut(fold.train)
    ours = quicken(made(settings, fold).train())
    first, again, other = (_with_seed(ours, batch.bmg, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, rtol=1e-2)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_dropout_treats_equal_bonds_apart(depth, make_fold, monkeypatch):
    monkeypatch.setattr(fast_sums, "dropped_out", lambda values, p: values)  # at atoms
    settings = ModelConfig(message_hidden_dim=16, depth=depth, dropout=0.3)
    graphs = {"V2": featurise([Chem.MolFromSmiles("CC=O")] * 2, "V2")}
    alike = make_fold(graphs=graphs)
    bmg = Batches(alike, settings).cut(np.arange(2)).bmg
    model = quicken(made(settings, alike))
    one, other = _with_seed(model.eval(), bmg, 1).chunk(2)
    assert torch.equal(one, other)
    one, other = _with_seed(model.train(), bmg, 1).chunk(2)
    assert not (one == other).all(dim=1).any()


@pytest.mark.parametrize("smiles", ["C", "C=O"])
def test_nothing_to_drop_between_bonds(smiles, make_fold):
    settings = ModelConfig(message_hidden_dim=16, depth=3, dropout=0.3)
    fold = make_fold(graphs={"V2": featurise([Chem.MolFromSmiles(smiles)], "V2")})
    bmg = Batches(fold, settings).cut(np.arange(1)).bmg
    model = quicken(made(settings, fold)).train()
    model.message_passing(bmg).sum().backward()
    assert all(torch.isfinite(one).all() for one in _gradients(model.message_passing))


def _gradients(layer):
    return [one.grad for one in layer.parameters() if one.grad is not None]


def test_features_may_have_gradients(fold):
    settings = ModelConfig(message_hidden_dim=16, depth=3)
    stock = made(settings, fold)
    gradients = []
    for model in (stock, quicken(copy.deepcopy(stock))):
        bmg = Batches(fold, settings).cut(fold.train).bmg
        bmg.V.requires_grad_()
        model.fingerprint(bmg).square().sum().backward()
        gradients.append(bmg.V.grad)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6)


def _with_seed(model, bmg, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model.message_passing(bmg)


def test_every_layer_is_replaced_by_one_of_ours(settings, fold):
    quick = quicken(made(settings, fold))
    for layer in (quick.message_passing, quick.agg):
        assert type(layer).__module__.endswith("fast_sums")


def test_weights_fit_both_ways_and_a_loaded_model_is_stock(settings, fold, tmp_path):
    stock = made(settings, fold)
    stock.load_state_dict(quicken(copy.deepcopy(stock)).state_dict())
    save_model(stock, tmp_path / "model.pt", fold.target_cols)
    assert type(load_model(tmp_path / "model.pt").message_passing).__module__.startswith(
        "chemprop."
    )
