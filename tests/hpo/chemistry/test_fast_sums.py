import copy

import pytest
import torch

from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.hpo.chemistry.batches import Batches
from chemprop_hpo.hpo.chemistry.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.model import build_model, load_model, save_model

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


def test_outputs_and_gradients_are_the_same_bit_for_bit(settings, fold):
    stock = made(settings, fold)
    quick = quicken(copy.deepcopy(stock))
    batch = Batches(fold, settings).cut(fold.train)
    for model in (stock, quick):
        model.predictor.train_step(model.fingerprint(batch.bmg)).square().sum().backward()
    for (name, one), other in zip(stock.named_parameters(), quick.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    with torch.inference_mode():
        assert torch.equal(stock(batch.bmg), quick(batch.bmg))


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
