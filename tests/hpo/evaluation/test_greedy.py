import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chemprop_hpo.hpo.evaluation.greedy import choose_weights, greedy_weights

NAN = np.nan


def members(n, noises, seed=0):
    """Columns that predict the labels with independent errors of the given size."""
    random = np.random.default_rng(seed)
    labels = random.normal(size=n)
    columns = labels[:, None] + random.normal(size=(n, len(noises))) * noises
    return columns, labels


def rmse(columns, weights, labels):
    return np.sqrt(np.square(columns @ weights - labels).mean())


def log_loss(columns, weights, labels):
    there = np.where(labels == 1, columns @ weights, 1 - columns @ weights)
    return -np.log(np.clip(there, 1e-15, 1)).mean()


def test_a_useless_column_gets_no_weight():
    columns, labels = members(500, [0.3, 0.3, 50.0])
    weights = greedy_weights(columns, labels)
    assert weights[2] == 0
    assert weights[:2] == pytest.approx([0.5, 0.5], abs=0.1)


def test_the_perfect_column_gets_all_weight():
    columns, labels = members(100, [0.5, 0.0, 0.5])
    assert greedy_weights(columns, labels).tolist() == [0.0, 1.0, 0.0]


def test_columns_that_err_in_opposite_ways_share_the_weight():
    labels = np.random.default_rng(1).normal(size=50)
    weights = greedy_weights(np.stack([labels + 1, labels - 1, labels + 9], axis=1), labels)
    assert weights.tolist() == [0.5, 0.5, 0.0]


def test_weights_come_near_the_best_that_a_grid_of_weights_knows():
    columns, labels = members(300, [0.3, 0.6], seed=2)
    grid = min(rmse(columns, [w, 1 - w], labels) for w in np.linspace(0, 1, 201))
    assert rmse(columns, greedy_weights(columns, labels), labels) < grid * 1.001


def test_the_first_choice_is_the_best_column_and_more_rounds_are_never_worse():
    columns, labels = members(200, [0.9, 0.5, 0.7, 0.6], seed=3)
    losses = [rmse(columns, greedy_weights(columns, labels, rounds=n), labels) for n in (1, 5, 50)]
    assert greedy_weights(columns, labels, rounds=1).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert losses == sorted(losses, reverse=True)


def test_weights_of_classes_minimise_the_log_loss():
    random = np.random.default_rng(4)
    labels = (random.random(400) < 0.4).astype(float)
    good = np.where(labels == 1, 0.8, 0.2)
    columns = np.stack([random.random(400), good, 1 - good], axis=1)
    weights = greedy_weights(columns, labels, classification=True)
    assert weights[1] > 0.85
    best = log_loss(columns, weights, labels)
    assert best <= min(log_loss(columns, np.eye(3)[i], labels) for i in range(3))


def test_ties_are_drawn_by_the_seed():
    column = np.random.default_rng(5).normal(size=30)
    columns = np.stack([column] * 4, axis=1)
    chosen = [
        int(np.argmax(greedy_weights(columns, column + 1.0, rounds=1, seed=seed)))
        for seed in range(20)
    ]
    again = greedy_weights(columns, column + 1.0, rounds=1, seed=0)
    assert set(chosen) == {0, 1, 2, 3}
    assert again[chosen[0]] == 1.0


def test_without_rows_all_columns_count_the_same():
    assert greedy_weights(np.full((3, 4), NAN), np.ones(3)).tolist() == [0.25] * 4


def test_greedy_is_used_where_it_gains_beyond_doubt():
    columns, labels = members(300, [0.3, 0.3, 3.0, 3.0])
    combination = choose_weights(columns, labels)
    assert combination.used == "greedy"
    assert combination.gain.low > 0
    assert combination.weights.tolist() == greedy_weights(columns, labels).tolist()
    assert combination.weights[2:].sum() < 0.05


def test_each_row_s_weights_are_found_without_its_molecule():
    columns, labels = (np.repeat(rows, 2, axis=0) for rows in members(60, [0.3, 0.5, 3.0], seed=1))
    molecules = np.repeat(np.arange(60), 2)
    columns, labels = np.vstack([columns, np.ones(3)]), np.append(labels, NAN)
    molecules = np.append(molecules, 60)
    found = choose_weights(columns, labels, molecules=molecules)
    assert found.used == "greedy"
    assert found.row_weights[-1].tolist() == found.weights.tolist()  # it has no label
    for row in (0, 17, 118):
        changed = labels.copy()
        changed[molecules == molecules[row]] += 50.0
        again = choose_weights(columns, changed, molecules=molecules).row_weights
        assert again[row].tolist() == found.row_weights[row].tolist()
        assert not np.array_equal(again, found.row_weights)


def test_the_mean_is_used_where_all_columns_are_alike():
    columns, labels = members(300, [0.5] * 6)
    combination = choose_weights(columns, labels)
    assert combination.used == "mean"
    assert combination.weights == pytest.approx([1 / 6] * 6)
    assert combination.gain.low <= 0
    assert combination.row_weights == pytest.approx(np.full((300, 6), 1 / 6))


def test_a_duplicated_good_column_is_no_gain():
    column, labels = members(200, [0.4], seed=6)
    combination = choose_weights(np.hstack([column] * 3), labels)
    assert combination.used == "mean"
    assert combination.gain.value == pytest.approx(0.0, abs=1e-9)


def test_the_mean_stays_almost_always_where_there_is_nothing_to_gain():
    # A gain measured on the rows that chose the weights would look real nearly every time.
    used = [
        choose_weights(*members(60, [0.5] * 8, seed=seed), seed=seed).used for seed in range(20)
    ]
    assert used.count("greedy") <= 2


def test_the_mean_stays_as_often_where_each_row_stands_four_times():
    # Rows cut singly would stand on both sides: those that find the weights and that judge them.
    molecules = np.repeat([f"C{i}" for i in range(60)], 4)
    used = []
    for seed in range(20):
        columns, labels = (np.repeat(rows, 4, axis=0) for rows in members(60, [0.5] * 8, seed=seed))
        used.append(choose_weights(columns, labels, molecules=molecules, seed=seed).used)
    assert used.count("greedy") <= 2


def test_greedy_is_used_where_repeated_rows_gain_beyond_doubt():
    columns, labels = (np.tile(rows.T, 3).T for rows in members(200, [0.3, 0.3, 3.0, 3.0]))
    found = choose_weights(columns, labels, molecules=np.tile(np.arange(200), 3))
    assert found.used == "greedy"
    assert found.weights[2:].sum() < 0.05


def test_names_of_molecules_that_stand_once_change_nothing():
    columns, labels = members(100, [0.5, 0.6, 0.9])
    labels[3] = NAN
    named = choose_weights(columns, labels, molecules=[f"C{i}" for i in range(100)])
    assert named.gain == choose_weights(columns, labels).gain


def test_few_molecules_leave_the_mean_however_often_they_were_measured():
    columns, labels = members(190, [0.1, 9.0])
    assert choose_weights(columns, labels, molecules=np.arange(190) % 19).used == "mean"
    assert choose_weights(columns, labels, molecules=np.arange(190) % 20).used == "greedy"


def test_the_gain_is_smaller_than_what_the_choosing_rows_promise():
    columns, labels = members(40, [0.5] * 10, seed=7)
    combination = choose_weights(columns, labels)
    mean = np.full(10, 0.1)
    promised = rmse(columns, mean, labels) - rmse(columns, greedy_weights(columns, labels), labels)
    assert promised > 0
    assert combination.gain.value < promised


def test_classes_are_combined_by_the_same_rule():
    random = np.random.default_rng(8)
    labels = (random.random(300) < 0.5).astype(float)
    good = np.clip(np.where(labels == 1, 0.85, 0.15) + random.normal(0, 0.05, 300), 0.01, 0.99)
    noise = random.random((300, 3))
    combination = choose_weights(np.column_stack([good, noise]), labels, classification=True)
    assert combination.used == "greedy"
    assert combination.weights[0] > 0.8


def test_one_column_has_all_weight_and_nothing_to_gain():
    combination = choose_weights(*members(100, [0.5]))
    assert (combination.used, combination.weights.tolist()) == ("mean", [1.0])
    assert np.isnan(combination.gain.value)


@pytest.mark.parametrize("n", [0, 1, 2, 19])
def test_few_rows_leave_the_mean(n):
    combination = choose_weights(*members(n, [0.1, 9.0]))
    assert (combination.used, combination.weights.tolist()) == ("mean", [0.5, 0.5])
    assert np.isnan(combination.gain.value)


def test_rows_that_miss_a_column_or_a_label_are_left_out():
    columns, labels = members(60, [0.3, 0.6, 0.9], seed=9)
    gaps, gapped = np.vstack([columns, np.ones((2, 3))]), np.append(labels, [5.0, NAN])
    gaps[-2, 1] = NAN
    whole, found = choose_weights(columns, labels), choose_weights(gaps, gapped)
    assert found.gain == whole.gain
    assert found.weights.tolist() == whole.weights.tolist()


def test_constant_labels_and_predictions_give_weights():
    combination = choose_weights(np.ones((30, 2)), np.ones(30))
    assert combination.used == "mean"
    assert combination.gain.value == 0.0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(arrays(float, (8, 4), elements=st.floats(-1e3, 1e3)))
def test_weights_are_shares_and_no_worse_than_the_best_column(values):
    columns, labels = values[:, :3], values[:, 3]
    weights = greedy_weights(columns, labels, rounds=10)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    best = min(rmse(columns, np.eye(3)[i], labels) for i in range(3))
    assert rmse(columns, weights, labels) <= best * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("columns", "labels", "classification", "message"),
    [
        (np.ones((3, 2)), np.ones(4), False, "are not"),
        (np.ones(3), np.ones(3), False, "are not"),
        (np.ones((3, 0)), np.ones(3), False, "are not"),
        (np.full((3, 2), np.inf), np.ones(3), False, "not finite"),
        (np.full((3, 2), 1.5), np.ones(3), True, "sigmoid"),
        (np.full((3, 2), 0.5), np.full(3, 0.5), True, "neither 0 nor 1"),
    ],
)
def test_what_cannot_be_combined_is_refused(columns, labels, classification, message):
    with pytest.raises(ValueError, match=message):
        choose_weights(columns, labels, classification=classification)
