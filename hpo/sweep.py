"""Start a sweep or go on with one; Ray and its workers start while this process imports."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import ray

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.events import Observer
from chemprop_hpo.hpo.resuming import sweep_of_study
from chemprop_hpo.hpo.search.sampler import budget, preset_points
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, cpus_here, nodes
from chemprop_hpo.hpo.trial.imports import imported_meanwhile
from chemprop_hpo.hpo.trial.private_ray import Ahead
from chemprop_hpo.storage.database import open_database, open_if_ready
from chemprop_hpo.storage.slots import may_have_all_trials
from chemprop_hpo.storage.studies import open_study, study_exists

if TYPE_CHECKING:
    from chemprop_hpo.hpo.drive import SweepResult
    from chemprop_hpo.hpo.trial.training_thread import Train

__all__ = ["resume_sweep", "start_sweep"]


def start_sweep(
    loaded: LoadedSweep,
    *,
    accept_changed_data: bool = False,
    observers: Sequence[Observer] = (),
    train: Train | None = None,
) -> SweepResult:
    """Run the sweep of a configuration; a study of that name is gone on with.

    Parameters
    ----------
    loaded : LoadedSweep
        The configuration.
    accept_changed_data : bool
        Go on with a study whose data files were others; the study remembers it.
    observers : sequence of Observer
        Told what happens, beside MLflow where the configuration asks for it.
    train : callable, optional
        Trains one model, in place of `chemprop_hpo.hpo.chemistry.training.train.train`.

    Returns
    -------
    SweepResult

    Raises
    ------
    DataError, ResourceError, StorageError, StudyMismatchError, TrackingError
        Before anything is trained.
    SweepFailedError
        If the cluster went away; what was finished is kept.
    """
    with ExitStack() as stack:
        with imported_meanwhile("chemprop_hpo.hpo.beginning") as all_is_imported:
            if not _may_be_done(loaded.config):
                _enter_ray(loaded.config, stack)
            from chemprop_hpo.hpo.chemistry.tables.data import read_fold

            tables = read_fold(loaded.config)  # what is wrong with data is said soon
            all_is_imported()
            from chemprop_hpo.hpo.beginning import Sweep
        return Sweep(loaded, tables, accept_changed_data, observers, train).run()


def _may_be_done(config: SweepConfig) -> bool:
    db = open_if_ready(config.study.storage)
    if db is None:
        return False
    with db:
        if not study_exists(db, config.study_name):
            return False
        total = budget(config, preset_points(config, Space.of(config)))
        return may_have_all_trials(db, db.study_id(open_study(db, config.study_name)), total)


def _enter_ray(config: SweepConfig, stack: ExitStack) -> None:
    address, resources = config.ray.address, config.resources
    ahead = None
    if address is None and resources.gpus_per_trial == 0 and not ray.is_initialized():
        most = place(resources, [cpus_here()]).concurrency
        ahead = Ahead(min(most, config.num_samples), resources.cpus_per_trial)
    stack.enter_context(connected(address, ahead))
    place(resources, nodes())


def resume_sweep(
    name: str,
    storage_url: str,
    *,
    overrides: Sequence[str] = (),
    num_samples: int | None = None,
    accept_changed_data: bool = False,
    observers: Sequence[Observer] = (),
    train: Train | None = None,
) -> SweepResult:
    """Go on with a study; the database alone suffices.

    Parameters
    ----------
    name : str
        The study.
    storage_url : str
        Its database, with the password.
    overrides : sequence of str
        ``key=value`` changes of what may differ here: paths, resources, tracking.
    num_samples : int, optional
        The study's new total of trials.
    accept_changed_data, observers, train
        As in `start_sweep`.

    Raises
    ------
    UnknownStudyError
        If there is no such study.
    ConfigError, DataError
        If the overrides are wrong, or a data file is nowhere.
    """
    with open_database(storage_url, create=False) as db:
        loaded = sweep_of_study(db, name, storage_url, overrides=overrides, num_samples=num_samples)
    return start_sweep(
        loaded,
        accept_changed_data=accept_changed_data,
        observers=observers,
        train=train,
    )
