import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.dropout import dropped_out


def seeded(seed, values, p):
    torch.manual_seed(seed)
    return dropped_out(values, p)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("shape", [(1000, 301), (200_003,)])
def test_as_many_are_dropped_as_asked_for_and_the_mean_stays(p, shape):
    values = torch.ones(shape)
    left = seeded(0, values, p)
    kept = left[left != 0]
    deviation = (p * (1 - p) / values.numel()) ** 0.5
    assert abs(1 - len(kept) / values.numel() - p) < 4 * deviation
    assert torch.allclose(kept, torch.tensor(1 / (1 - p)), rtol=1e-3)


def test_each_column_and_row_is_dropped_as_often():
    left = seeded(0, torch.ones(2000, 300), 0.25) != 0
    for dim in (0, 1):
        shares = left.float().mean(dim=dim)
        expected = (0.25 * 0.75 / left.shape[dim]) ** 0.5
        assert abs(float(shares.std()) / expected - 1) < 0.15


def test_seeds_of_torch_say_which():
    values = torch.ones(100, 10)
    assert torch.equal(seeded(1, values, 0.5), seeded(1, values, 0.5))
    assert not torch.equal(seeded(1, values, 0.5), seeded(2, values, 0.5))
    torch.manual_seed(1)
    assert not torch.equal(dropped_out(values, 0.5), dropped_out(values, 0.5))


def test_nothing_and_everything_may_be_dropped():
    values = torch.rand(7, 3)
    assert torch.equal(dropped_out(values, 0.0), values)
    assert torch.equal(dropped_out(values, 1.0), torch.zeros(7, 3))
    assert dropped_out(torch.zeros(0, 3), 0.5).shape == (0, 3)


def test_what_is_dropped_has_no_gradient_and_the_rest_has_its_scale():
    values = torch.rand(50, 4).requires_grad_()
    left = dropped_out(values, 0.5)
    left.sum().backward()
    assert torch.equal(values.grad, torch.where(left == 0, 0.0, 2.0))
