import numpy as np
import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.alike import Alike, mixed


def test_equal_rows_are_one_group_and_others_are_not():
    rows = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 1e-6], [0, 1]])
    alike = Alike.by_row(rows)
    assert len(alike) == 3
    assert not alike.is_apart
    assert torch.equal(rows[alike.firsts][alike.group], rows)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 100), (1, 1.5), (0.12, 0.14)])
def test_all_rows_of_two_numbers_are_told_apart(low, high):
    numbers = torch.arange(2**12)
    rows = torch.where((numbers[:, None] >> torch.arange(12)) % 2 == 1, high, low)
    assert Alike.by_row(rows.float()).is_apart
    assert len(Alike.by_row(rows.float().repeat(2, 1))) == 2**12


def test_where_all_differ_they_keep_their_order():
    alike = Alike.by_row(torch.tensor([[3.0], [1.0], [2.0]]))
    assert alike.is_apart
    assert list(alike.firsts) == list(alike.group) == [0, 1, 2]


def test_rows_of_a_transposed_matrix_are_its_own():
    columns = torch.tensor([[1.0, 1.0, 2.0], [3.0, 3.0, 4.0]])
    assert len(Alike.by_row(columns.T)) == 2


def test_items_are_grouped_by_both_of_their_groups():
    one, other = np.array([0, 0, 1, 1, 0]), np.array([0, 2, 0, 2, 0])
    alike = Alike.by_both(one, other)
    assert len(alike) == 4
    pairs = np.stack([one, other], axis=1)
    assert np.array_equal(pairs[alike.firsts][alike.group], pairs)


def test_nothing_has_no_groups():
    nothing = np.array([], dtype=np.int64)
    assert len(Alike.by_both(nothing, nothing)) == len(Alike.by_row(torch.zeros(0, 3))) == 0


def test_sums_of_codes_tell_which_were_added():
    codes = mixed(np.arange(40)).tolist()
    pairs = {(codes[i] + codes[j]) % 2**64 for i in range(40) for j in range(i, 40)}
    assert len(pairs) == 40 * 41 // 2
    assert 0 not in codes
