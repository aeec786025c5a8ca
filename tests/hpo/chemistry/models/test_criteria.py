import pytest
import torch
from chemprop.nn import MAE, MSE, RMSE, BCELoss

from chemprop_hpo.hpo.chemistry.models.criteria import EpochLoss, training_criterion


@pytest.mark.parametrize("kind", [MSE, MAE, RMSE, BCELoss])
def test_losses_of_batches_and_of_an_epoch_are_those_of_torchmetrics(kind):
    torch.manual_seed(0)
    stock, ours = kind([0.5, 1.5]), EpochLoss(training_criterion(kind([0.5, 1.5])))
    for _ in range(2):
        stock.reset()
        ours.begin()
        for size in (5, 3, 8):
            labels = torch.randint(2, (size, 2)).float()
            known = torch.rand(size, 2) > 0.2
            theirs = torch.randn(size, 2, requires_grad=True)
            mine = theirs.detach().clone().requires_grad_()
            one, other = stock(theirs, labels, known), ours.of_batch(mine, labels, known)
            for loss in (one, other):
                loss.backward()
            assert torch.equal(one, other)
            assert torch.equal(theirs.grad, mine.grad)
        assert float(stock.compute()) == ours.of_epoch()
