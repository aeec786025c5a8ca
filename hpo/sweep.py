"""Start a sweep or go on with one: study, workers, scheduler and observers put together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import ray

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.drive import Drive, SweepResult
from chemprop_hpo.hpo.events import Audience, Observer
from chemprop_hpo.hpo.identity import check_study, manifest_of, record_of, study_folder
from chemprop_hpo.hpo.plan import SweepPlan, check_tracking, featurizers, plan_sweep
from chemprop_hpo.hpo.resuming import sweep_of_study
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, local_nodes, nodes
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.hpo.trial.weights import claim_folder, refuse_foreign
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.drivers import live_drivers
from chemprop_hpo.storage.studies import Study, open_or_create_study, study_exists

__all__ = ["SweepPlan", "SweepResult", "plan_sweep", "resume_sweep", "start_sweep"]

log = logging.getLogger(__name__)


def start_sweep(
    loaded: LoadedSweep,
    *,
    accept_changed_data: bool = False,
    observers: Sequence[Observer] = (),
    train: Train = train,
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
    train : callable
        Trains one model, with the signature of `chemprop_hpo.hpo.chemistry.training.train.train`.

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
    config = loaded.config
    with ExitStack() as stack:
        # First everything that the user may have to put right; nothing is stored before.
        tables = read_fold(config)
        _check_fits(config, stack)
        manifest = manifest_of(config, tables)
        check_study(loaded, manifest, accept_changed_data=accept_changed_data)
        check_tracking(config)
        _say(tables.report.lines())
        fold = featurise_fold(tables, config, *featurizers(config))
        _say(fold.notes)

        db = stack.enter_context(open_database(config.study.storage))
        folder = study_folder(config, db)
        if not study_exists(db, config.study_name):
            refuse_foreign(folder, config.study_name, None)
        record = record_of(loaded, manifest, folder)
        study, created = open_or_create_study(
            db, config.study_name, record, accept_changed_data=accept_changed_data
        )
        claim_folder(folder, study.study_name, study.user_attrs["created"], db.masked_url)
        if created:
            db.storage.write_study_user_attrs(db.study_id(study), {"manifest": manifest})
        audience = Audience([*observers, *_trackers(loaded, manifest, db, study)])
        drive = Drive(config, folder, db, study, audience, not created, train)
        if done := drive.result_if_done():
            _log_what_is_missing(config, db, study)
            return done
        stack.enter_context(connected(config.ray.address))
        with drive.interrupts:
            return drive.run(fold)


def resume_sweep(
    name: str,
    storage_url: str,
    *,
    overrides: Sequence[str] = (),
    num_samples: int | None = None,
    accept_changed_data: bool = False,
    observers: Sequence[Observer] = (),
    train: Train = train,
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


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        log.info(line)


def _check_fits(config: SweepConfig, stack: ExitStack) -> None:
    # Before anything is stored. A private Ray starts later: it takes seconds.
    if config.ray.address is None and not ray.is_initialized():
        place(config.resources, local_nodes())
    else:
        stack.enter_context(connected(config.ray.address))
        place(config.resources, nodes())


def _trackers(
    loaded: LoadedSweep, manifest: Mapping[str, Any], db: Database, study: Study
) -> tuple[Observer, ...]:
    config = loaded.config
    if not config.mlflow.tracking:
        return ()
    from chemprop_hpo.hpo.tracking.account import read_account, read_best
    from chemprop_hpo.hpo.tracking.mlflow_runs import MlflowObserver  # seconds to import

    return (
        MlflowObserver(
            config.mlflow,
            study=config.study_name,
            config_stored=loaded.stored,
            manifest=dict(manifest),
            space=Space.of(config).to_json(),
            created=str(study.user_attrs["created"]),
            read_account=partial(read_account, db, study, config),
            read_best=partial(read_best, study, config),
            read_observations=partial(_read_observations, study, config),
            others_at_work=lambda: len(live_drivers(db, study)) > 1,
        ),
    )


def _read_observations(study: Study, config: SweepConfig) -> Observations:
    from chemprop_hpo.hpo.report.searched.observations import read_observations  # matplotlib

    return read_observations(study, config)


def _log_what_is_missing(config: SweepConfig, db: Database, study: Study) -> None:
    """Fill in what the driver that ran the last trial could not log: it may have been killed."""
    if not config.mlflow.tracking:
        return
    from chemprop_hpo.hpo.tracking.fill_in import fill_in

    try:
        fill_in(db, study, config, thorough=False, read_observations=_read_observations)
    except TrackingError as problem:
        log.warning("%s", problem)
