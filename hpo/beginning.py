"""Check what a sweep needs, featurise its molecules, and create its study or go on with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from chemprop_hpo.configs.errors import SweepFailedError, TrackingError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.drive import Drive, SweepResult
from chemprop_hpo.hpo.events import Audience, Observer
from chemprop_hpo.hpo.identity import check_study, manifest_of, record_of, study_folder
from chemprop_hpo.hpo.plan import check_tracking, featurizers
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.tracking.observations import Observations
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, local_nodes
from chemprop_hpo.hpo.trial.private_ray import is_private
from chemprop_hpo.hpo.trial.ray_processes import ray_is_gone
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.hpo.trial.weights import claim_folder, refuse_foreign
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.drivers import live_drivers
from chemprop_hpo.storage.studies import Study, open_or_create_study, study_exists

__all__ = ["Sweep"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """One call of ``sweep`` or ``resume``.

    Parameters
    ----------
    loaded : LoadedSweep
        The configuration.
    tables : FoldTables
        The sweep's own fold.
    accept_changed_data : bool
        Go on with a study whose data files were others; the study remembers it.
    observers : sequence of Observer
        Told what happens, beside MLflow where the configuration asks for it.
    train : callable, optional
        Trains one model, in place of Chemprop.
    """

    loaded: LoadedSweep
    tables: FoldTables
    accept_changed_data: bool
    observers: Sequence[Observer]
    train: Train | None

    def run(self) -> SweepResult:
        """Run what the study lacks; nothing is stored before all is checked.

        Raises
        ------
        ResourceError, StorageError, StudyMismatchError, TrackingError
            Before anything is trained.
        SweepFailedError
            If the cluster went away; what was finished is kept.
        """
        config = self.loaded.config
        with ExitStack() as stack:
            # First what else the user may have to put right; nothing is stored before.
            manifest = manifest_of(config, self.tables)
            check_study(self.loaded, manifest, accept_changed_data=self.accept_changed_data)
            check_tracking(config)
            if config.resources.gpus_per_trial and is_private():
                place(config.resources, local_nodes())  # Ray may count GPUs that torch cannot use
            _say(self.tables.report.lines())
            fold = featurise_fold(self.tables, config, *featurizers(config))
            _say(fold.notes)
            if ray_is_gone():
                raise SweepFailedError(
                    "Ray went away before any trial; the same command tries again"
                )

            db = stack.enter_context(open_database(config.study.storage))
            folder = study_folder(config, db)
            if not study_exists(db, config.study_name):
                refuse_foreign(folder, config.study_name, None)
            record = record_of(self.loaded, manifest, folder)
            study, created = open_or_create_study(
                db, config.study_name, record, accept_changed_data=self.accept_changed_data
            )
            claim_folder(folder, study.study_name, study.user_attrs["created"], db.masked_url)
            if created:
                db.storage.write_study_user_attrs(db.study_id(study), {"manifest": manifest})
            audience = Audience([*self.observers, *_trackers(self.loaded, manifest, db, study)])
            drive = Drive(config, folder, db, study, audience, not created, self.train or train)
            if done := drive.result_if_done():
                _log_what_is_missing(config, db, study)
                return done
            stack.enter_context(connected(config.ray.address))  # as a rule it is already
            with drive.interrupts:
                return drive.run(fold)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        log.info(line)


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
