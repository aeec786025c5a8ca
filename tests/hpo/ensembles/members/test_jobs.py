"""What the members of an ensemble are: each known by all that decides what comes out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob, features_of, member_jobs, member_seed
from tests.hpo.made_members import config_of, trial

Folds = dict[tuple[int, int], FoldTables]


def jobs_of(config: SweepConfig, folds: Folds, **params: Any) -> list[MemberJob]:
    return member_jobs(config, [trial(7, {"depth": 4, **params})], folds)


@pytest.fixture
def config(tmp_path: Path) -> SweepConfig:
    return config_of(tmp_path, max_epochs=100)


@pytest.fixture
def folds(config: SweepConfig) -> Folds:
    return read_folds(config, fold_list(config))


def test_members_come_trial_by_trial_and_fold_by_fold(config: SweepConfig, folds: Folds) -> None:
    jobs = member_jobs(config, [trial(7, {"depth": 4}), trial(3, {"depth": 2})], folds)
    assert [job.key[:3] for job in jobs] == [(7, 0, 0), (7, 0, 1), (3, 0, 0), (3, 0, 1)]
    assert [job.spec.model.depth for job in jobs] == [4, 4, 2, 2]
    assert jobs[1].folder == f"members/trial_00007/split_0_fold_1-{jobs[1].key.cut[:8]}"
    assert len({job.folder for job in jobs}) == len({job.spec.seed for job in jobs}) == 4
    assert jobs[0].entry.seed == jobs[0].spec.seed


def test_a_seed_depends_on_the_study_and_the_members_place() -> None:
    seed = member_seed(0, 7, 0, 1)
    assert seed == member_seed(0, 7, 0, 1)
    places = [(0, 7, 1, 0), (0, 7, 0, 0), (0, 8, 0, 1), (1, 7, 0, 1), (-1, 7, 0, 1)]
    assert len({seed, *(member_seed(*place) for place in places)}) == 6
    assert 0 <= member_seed(-1, 7, 0, 1) < 2**32


def test_a_configuration_can_be_trained_as_its_trial_was(config: SweepConfig, folds: Folds) -> None:
    swept = replace(trial(7, {"depth": 4}), seed=123, best_epoch=31)
    (job, _) = member_jobs(config, [swept], folds, as_swept=True)
    (other, _) = jobs_of(config, folds)
    assert (job.spec.seed, job.spec.last_epoch, job.spec.max_epochs) == (123, 31, 100)
    assert job.spec.optimization.patience is None
    assert other.spec.last_epoch is None
    later = replace(swept, best_epoch=32)
    cuts = {
        one.key.cut for one in (job, other, *member_jobs(config, [later], folds, as_swept=True))
    }
    assert len(cuts) == 4


@pytest.mark.parametrize(
    ("own", "max_epochs", "expected"), [(None, 100, 25), (None, 20, 10), (4, 100, 4)]
)
def test_patience_is_the_configurations_or_a_quarter_of_all_epochs(
    tmp_path: Path, own: int | None, max_epochs: int, expected: int
) -> None:
    config = config_of(tmp_path, max_epochs=max_epochs, optimization={"patience": own})
    (job, _) = jobs_of(config, read_folds(config, fold_list(config)))
    assert job.spec.optimization.patience == expected


def test_the_yardstick_stays_where_the_criterion_is_searched(
    config: SweepConfig, folds: Folds
) -> None:
    spec = jobs_of(config, folds, criterion="MAE")[0].spec
    assert (spec.optimization.criterion, spec.yardstick) == ("MAE", "MSE")


def test_a_member_is_the_same_while_data_and_settings_are(
    config: SweepConfig, folds: Folds
) -> None:
    first = jobs_of(config, folds)
    again = read_folds(config, fold_list(config))
    more_threads = config.resources.model_copy(update={"cpus_per_trial": 2})
    assert jobs_of(config.model_copy(update={"resources": more_threads}), again) != first
    assert [job.key for job in jobs_of(config, again)] == [job.key for job in first]
    labels = folds[0, 0].train.targets
    np.add(labels, 1, out=labels)
    changed = jobs_of(config, folds)
    assert changed[0].key.cut != first[0].key.cut
    assert changed[1].key.cut == first[1].key.cut
    assert jobs_of(config, folds, dropout=0.1)[1].key.cut != first[1].key.cut


def test_features_are_those_that_any_member_needs(config: SweepConfig, folds: Folds) -> None:
    jobs = [
        *jobs_of(config, folds, atom_features="V1"),
        *jobs_of(config, folds, molecule_features="charge+morgan_binary"),
    ]
    assert features_of(jobs) == (["V1", "V2"], ["charge", "morgan_binary"])
