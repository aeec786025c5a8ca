"""What is compared: the single best model, each rank, and all of them combined."""

from __future__ import annotations

import numpy as np
import pytest

from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate, candidates
from chemprop_hpo.hpo.evaluation.calibration import Calibration
from tests.hpo.ensembles.scenes import held_out

RNG = np.random.default_rng(1)
N = 60
LABELS = RNG.normal(size=N)
FOLDS = {0: np.arange(N) % 2, 1: np.arange(N) // 30}
COLUMNS = {(rank, split): LABELS + RNG.normal(0, 0.4, N) for rank in (1, 2) for split in (0, 1)}
MEMBERS = [(rank, split, fold) for rank in (1, 2) for split in (0, 1) for fold in (0, 1)]
OUTPUTS = {member: np.full((3, 1), float(i)) for i, member in enumerate(MEMBERS)}


def found(members: list[tuple[int, int, int]] = MEMBERS) -> dict[str, Candidate]:
    data = held_out(COLUMNS, LABELS, FOLDS)
    named, weighting = candidates(data, members, classification=False, seed=0)
    assert weighting.units == ((1, 0), (1, 1), (2, 0), (2, 1))
    return {one.name: one for one in named}


def test_the_single_best_stands_first_and_the_combination_last() -> None:
    assert list(found()) == ["single best", "rank 1", "rank 2", "combined"]


def test_the_single_best_speaks_of_its_own_validation_rows_only() -> None:
    single = found()["single best"]
    assert list(single.shares) == [(1, 0, 0)]
    of_fold = FOLDS[0] == 0
    assert single.out_of_fold.mean[of_fold, 0].tolist() == COLUMNS[1, 0][of_fold].tolist()
    assert np.isnan(single.out_of_fold.mean[~of_fold]).all()
    assert np.isnan(single.out_of_fold.std).all()
    assert single.say(OUTPUTS).mean.tolist() == OUTPUTS[1, 0, 0].tolist()


def test_another_first_member_is_the_single_best_where_the_first_one_failed() -> None:
    single = found(MEMBERS[1:])["single best"]
    assert list(single.shares) == [(1, 0, 1)]
    of_fold = FOLDS[0] == 1
    assert np.isfinite(single.out_of_fold.mean[:, 0]).tolist() == of_fold.tolist()


def test_a_rank_is_the_mean_of_its_splits_with_their_unbiased_spread() -> None:
    rank = found()["rank 2"]
    both = np.stack([COLUMNS[2, 0], COLUMNS[2, 1]])
    assert rank.out_of_fold.mean[:, 0] == pytest.approx(both.mean(axis=0))
    assert rank.out_of_fold.std[:, 0] == pytest.approx(both.std(axis=0, ddof=1))


def test_of_new_molecules_an_ensemble_says_the_mean_of_its_members() -> None:
    by_name = found()
    assert by_name["rank 1"].say(OUTPUTS).mean == pytest.approx(np.full((3, 1), 1.5))
    assert by_name["rank 2"].say(OUTPUTS).mean == pytest.approx(np.full((3, 1), 5.5))
    assert by_name["combined"].say(OUTPUTS).mean == pytest.approx(np.full((3, 1), 3.5))
    spread = np.std([0, 1, 2, 3], ddof=1)
    assert by_name["rank 1"].say(OUTPUTS).std == pytest.approx(np.full((3, 1), spread))


def test_intervals_are_calibrated_on_each_candidate_s_own_residuals() -> None:
    by_name = found()
    for name in ("single best", "rank 1", "combined"):
        said = by_name[name].out_of_fold
        expected = Calibration.fit(said.std[:, 0], LABELS - said.mean[:, 0])
        assert by_name[name].calibrations == (expected,)
        assert set(expected.quantiles) == {80, 90, 95}
    assert by_name["rank 1"].calibrations != by_name["combined"].calibrations


def test_one_rank_is_combined_with_itself() -> None:
    data = held_out({(1, 0): COLUMNS[1, 0]}, LABELS, {0: FOLDS[0]})
    named, weighting = candidates(data, MEMBERS[:2], classification=False, seed=0)
    assert [one.name for one in named] == ["single best", "rank 1", "combined"]
    assert weighting.weights.tolist() == [[1.0]]
    assert named[1].shares.keys() == named[2].shares.keys()
    assert named[1].out_of_fold.mean.tolist() == named[2].out_of_fold.mean.tolist()


def test_a_classification_has_no_intervals_of_labels() -> None:
    labels = (LABELS > 0).astype(float)
    columns = {unit: 1 / (1 + np.exp(-values)) for unit, values in COLUMNS.items()}
    data = held_out(columns, labels, FOLDS)
    named, _ = candidates(data, MEMBERS, classification=True, seed=0)
    assert {one.calibrations for one in named} == {(None,)}
    said = named[1].out_of_fold.mean[:, 0]
    assert said == pytest.approx((columns[1, 0] + columns[1, 1]) / 2)


def test_several_targets_are_kept_apart() -> None:
    labels = np.stack([LABELS, 100 + LABELS], axis=1)
    columns = {unit: np.stack([v, 100 + v], axis=1) for unit, v in COLUMNS.items()}
    named, _ = candidates(held_out(columns, labels, FOLDS), MEMBERS, classification=False, seed=0)
    said = named[-1].out_of_fold
    assert said.mean[:, 1] == pytest.approx(said.mean[:, 0] + 100, abs=0.2)
    assert len(named[-1].calibrations) == 2


def test_the_spread_in_original_units_is_that_of_undone_predictions() -> None:
    data = held_out(COLUMNS, LABELS, FOLDS)
    found, _ = candidates(data, MEMBERS, classification=False, seed=0)
    rank = next(one for one in found if one.name == "rank 2")
    undone = 10 ** np.stack([COLUMNS[2, 0], COLUMNS[2, 1]]) - 1
    spread = rank.out_of_fold_spread(data, ["log10p1"])
    assert spread[:, 0] == pytest.approx(undone.std(axis=0, ddof=1))
    assert rank.out_of_fold_spread(data, ["none"]) == pytest.approx(rank.out_of_fold.std)
    outputs = {member: np.array([[0.1 * i]]) for i, member in enumerate(MEMBERS)}
    undone = 10 ** np.array([0.4, 0.5, 0.6, 0.7])
    assert rank.spread(outputs, ["log10"])[0, 0] == pytest.approx(undone.std(ddof=1))
    assert np.isnan(found[0].spread(outputs, ["log10"])).all()  # one model is alone


def test_figures_out_of_fold_are_by_weights_that_were_found_without_the_row() -> None:
    columns = {(1, 0): COLUMNS[1, 0], (2, 0): LABELS + RNG.normal(0, 4.0, N)}
    for row in range(0, N, 7):
        labels = LABELS.copy()
        labels[row] += 1000.0
        said = {}
        for name, changed in (("before", LABELS), ("after", labels)):
            named, weighting = candidates(
                held_out(columns, changed, {0: FOLDS[0]}),
                [(1, 0, 0), (1, 0, 1), (2, 0, 0), (2, 0, 1)],
                classification=False,
                seed=0,
            )
            said[name] = weighting.row_weights[:, row, 0].tolist()
            if name == "before":
                assert weighting.chosen[0].used == "greedy"
                mean = named[-1].out_of_fold.mean[row, 0]
                values = [columns[unit][row] for unit in weighting.units]
                assert mean == pytest.approx(np.dot(said[name], values))
            elif weighting.chosen[0].used == "greedy":
                assert said["after"] == said["before"]


def test_probabilities_that_all_agree_on_stay_probabilities() -> None:
    labels = np.ones(N)
    labels[: N // 2] = 0.0
    columns = {unit: labels.copy() for unit in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]}
    members = [(rank, 0, fold) for rank in range(1, 7) for fold in (0, 1)]
    data = held_out(columns, labels, {0: FOLDS[0]})
    named, _ = candidates(data, members, classification=True, seed=0)
    for one in named[1:]:
        assert one.out_of_fold.mean[:, 0].tolist() == labels.tolist()
