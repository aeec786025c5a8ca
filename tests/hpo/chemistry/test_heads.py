import pytest
import torch
from chemprop.nn import BCELoss, BinaryClassificationFFN, RegressionFFN
from chemprop.nn.hparams import from_hparams
from chemprop.nn.metrics import MSE
from chemprop.nn.transforms import UnscaleTransform

from chemprop_hpo.configs.schema import ModelConfig
from chemprop_hpo.hpo.chemistry.heads import build_head

HEADS = ["regression", "branched", "mixture_of_experts"]
TASKS = ["regression", "classification"]
WIDTH = 12


def make_head(head, task="regression", n_tasks=3, **changes):
    settings = {
        "ffn_type": head, "num_layers": 2, "hidden_dim": 7, "trunk_n_layers": 3,
        "trunk_hidden_dim": 9, "n_experts": 3, "activation": "PRELU",
    }  # fmt: skip
    torch.manual_seed(0)
    criterion = MSE() if task == "regression" else BCELoss()
    scaled = task == "regression"
    transform = UnscaleTransform([5.0] * n_tasks, [2.0] * n_tasks) if scaled else None
    model = ModelConfig.model_validate(settings | changes)
    return build_head(model, task, n_tasks, WIDTH, criterion, transform)


@pytest.fixture
def fingerprints():
    return torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(1))


every_head = pytest.mark.parametrize("head", HEADS)
every_task = pytest.mark.parametrize("task", TASKS)
every_count = pytest.mark.parametrize("n_tasks", [1, 4])


@every_head
@every_task
@every_count
def test_a_head_predicts_every_target(head, task, n_tasks, fingerprints):
    built = make_head(head, task, n_tasks).eval()
    outputs = built(fingerprints)
    assert outputs.shape == (10, n_tasks)
    assert (built.input_dim, built.output_dim, built.n_tasks) == (WIDTH, n_tasks, n_tasks)
    if task == "classification":
        torch.testing.assert_close(outputs, built.train_step(fingerprints).sigmoid())
        assert ((outputs > 0) & (outputs < 1)).all()


@every_head
@every_task
@every_count
@pytest.mark.parametrize("layers", [1, 3])
def test_every_parameter_gets_a_gradient(head, task, n_tasks, layers, fingerprints):
    built = make_head(head, task, n_tasks, num_layers=layers, trunk_n_layers=layers).train()
    built.train_step(fingerprints).square().sum().backward()
    silent = [n for n, p in built.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@every_task
def test_branches_equal_a_plain_loop(task, fingerprints):
    built = make_head("branched", task).eval()
    body, shared = built.ffn, fingerprints
    for block in body.trunk:
        shared = block(shared)
    shared = body.fork(shared)
    looped = torch.stack([branch(shared)[:, 0] for branch in body.branches], dim=1)
    assert sum(len(block) - 1 > 0 for block in body.trunk) == 2  # three layers, two activations
    expected = looped * 2 + 5 if task == "regression" else looped
    torch.testing.assert_close(built.train_step(fingerprints), expected)


@every_task
def test_a_mixture_equals_a_plain_loop_over_molecules_and_experts(task, fingerprints):
    built = make_head("mixture_of_experts", task).eval()
    body, rows = built.ffn, []
    for molecule in fingerprints:
        trust = torch.softmax(body.gate(molecule), dim=0)
        rows.append(
            sum(t * expert(molecule) for t, expert in zip(trust, body.experts, strict=True))
        )
    looped = torch.stack(rows)
    expected = looped * 2 + 5 if task == "regression" else looped
    torch.testing.assert_close(built.train_step(fingerprints), expected)


def test_experts_and_branches_begin_with_weights_of_their_own():
    experts = make_head("mixture_of_experts").ffn.experts
    branches = make_head("branched").ffn.branches
    for networks in (experts, branches):
        assert not torch.equal(networks[0][0][0].weight, networks[1][0][0].weight)


@every_head
@every_task
def test_a_head_is_rebuilt_from_its_hyperparameters(head, task, fingerprints):
    built = make_head(head, task).eval()
    rebuilt = from_hparams(built.hparams).eval()
    assert type(rebuilt) is type(built)
    rebuilt.load_state_dict(built.state_dict())
    assert torch.equal(rebuilt(fingerprints), built(fingerprints))


@every_head
def test_hidden_representations_follow_chemprops_indices(head, fingerprints):
    built = make_head(head).eval()
    torch.testing.assert_close(built.encode(fingerprints, 0), fingerprints)
    last = built.encode(fingerprints, -1)
    assert last.shape == (10, 9 if head == "branched" else 7)


def test_the_plain_head_is_chemprops_own():
    assert type(make_head("regression")) is RegressionFFN
    assert type(make_head("regression", "classification")) is BinaryClassificationFFN
