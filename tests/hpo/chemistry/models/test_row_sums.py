import numpy as np
import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.row_sums import (
    Lists,
    add_products,
    gathered,
    spread,
    summed,
)

LISTS = Lists(np.array([3, 0, 0, 2]), np.array([1, 0, 3]))


def as_lists(lists):
    ends = lists.counts.cumsum()
    return [list(part) for part in np.split(lists.rows, ends[:-1])]


def test_lists_are_chosen_renamed_and_turned():
    assert as_lists(LISTS) == [[3], [], [0, 0, 2]]
    assert as_lists(LISTS.chosen(np.array([2, 1, 2, 0]))) == [[0, 0, 2], [], [0, 0, 2], [3]]
    assert as_lists(LISTS.renamed(np.array([7, 8, 9, 5]))) == [[5], [], [7, 7, 9]]
    assert as_lists(LISTS.turned(5)) == [[2, 2], [], [2], [0], []]


def test_rows_are_listed_by_place_and_left_out():
    by_place = Lists.of(np.array([1, 0, 1, 1]), 3)
    assert as_lists(by_place) == [[1], [0, 2, 3], []]
    others = by_place.chosen(np.array([1, 1])).without(np.array([0, 3]))
    assert as_lists(others) == [[2, 3], [0, 2]]


@pytest.mark.parametrize("n_places", [2**16, 2**16 + 1, 2**17])
def test_rows_keep_their_order_in_every_place(n_places):
    places = np.array([n_places - 1, 0, 70_000 % n_places, n_places - 1, 0, 2**15])
    lists = Lists.of(places, n_places)
    assert list(lists.rows) == sorted(range(6), key=lambda row: places[row])
    assert lists.counts.sum() == 6


def rows(n, d=3):
    generator = torch.Generator().manual_seed(n)
    values = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


def test_sums_are_those_of_the_lists():
    values = rows(4)
    wanted = torch.stack([values[3], torch.zeros(3), 2 * values[0] + values[2]])
    assert torch.allclose(summed(values, LISTS), wanted)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda values: summed(values, LISTS), [rows(4)]),
        (lambda values: spread(values, np.array([1, 1, 3])), [rows(4)]),
        (lambda values: gathered(values, Lists.of(of := np.array([2, 0, 2, 1]), 3), of), [rows(4)]),
        (add_products, [rows(5), rows(2), rows(3)]),
    ],
    ids=["summed", "spread", "gathered", "add_products"],
)
def test_gradients_are_right(function, inputs):
    assert torch.autograd.gradcheck(function, inputs)
