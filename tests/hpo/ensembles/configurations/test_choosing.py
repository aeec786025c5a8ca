"""A study is looked through for configurations, with limits in the right units."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice, choose
from chemprop_hpo.hpo.ensembles.configurations.selection import Decision
from tests.hpo.ensembles.small_studies import small_sweep, study_of

FAILED = math.nan


def chosen(loaded: LoadedSweep, values: list[float], choice: Choice) -> list[Decision]:
    config = loaded.config
    return choose(study_of(loaded, values), config, read_fold(config), choice)


def test_complete_trials_are_taken_best_first(tmp_path: Path) -> None:
    decisions = chosen(small_sweep(tmp_path), [0.4, FAILED, 0.2, 0.3], Choice(3))
    assert [d.trial.number for d in decisions] == [2, 3, 0]


def test_higher_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    loaded = small_sweep(tmp_path, metric="val_r2", mode="max")
    assert [d.trial.number for d in chosen(loaded, [0.4, 0.6, 0.5], Choice(2))] == [1, 2]


def test_a_study_without_a_complete_trial_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(small_sweep(tmp_path), [FAILED], Choice(1))
    assert str(caught.value) == (
        "study 'small' has no complete trial to train an ensemble of; "
        "let it go on: chemprop-hpo resume --study small"
    )


def test_fewer_trials_than_asked_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 complete trials.*fewer than the 3 asked for"):
        chosen(small_sweep(tmp_path), [0.4, 0.2], Choice(3))


def test_min_distance_is_measured_in_the_study_s_space(tmp_path: Path) -> None:
    # Learning rates 0.02, 0.01, 0.0067: a tenth and a sixth of three decades from the first.
    decisions = chosen(small_sweep(tmp_path), [0.2, 0.3, 0.4], Choice(2, "diverse", 0.15))
    assert [(d.trial.number, d.rank) for d in decisions] == [(0, 1), (1, None), (2, 2)]
    assert decisions[1].reason == "0.10 from trial 0, less than 0.15"


def limit(folder: Path, gap: float, **data: Any) -> tuple[str, LoadedSweep]:
    """Return the limit of the gap, as the message of a trial over it shows it."""
    promotion = {"max_generalisation_gap": gap}
    loaded = small_sweep(folder, data=data, promotion=promotion)
    with pytest.raises(UsageError) as caught:
        chosen(loaded, [0.2], Choice(1, "stable"))
    return str(caught.value).split("more than ")[1].split(")")[0], loaded


def test_of_several_targets_the_limit_of_the_gap_is_taken_as_it_is(tmp_path: Path) -> None:
    assert limit(tmp_path, 0.05)[0] == "0.05"


@pytest.mark.parametrize(("target", "transform"), [("polar", "none"), ("size", "log10p1")])
def test_of_one_target_the_limit_is_in_standard_deviations_of_its_original_labels(
    tmp_path: Path, target: str, transform: str
) -> None:
    said, loaded = limit(
        tmp_path, 1e-3, target_cols=[target], target_transforms={target: transform}, target_units={}
    )
    labels = read_fold(loaded.config).train.targets[:, 0]
    original = labels if transform == "none" else 10**labels - 1
    assert said == f"{1e-3 * original.std():.3g}"
    assert original.std() != pytest.approx(1.0, rel=0.1)
