"""Tell MLflow what a study knows and MLflow does not: nothing that is there is logged again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.tracking.account import read_account
from chemprop_hpo.hpo.tracking.filling import Added, now
from chemprop_hpo.hpo.tracking.observations import Observations, observed
from chemprop_hpo.hpo.tracking.run_log import RunLog
from chemprop_hpo.hpo.tracking.server import (
    as_tracking_error,
    connect,
    experiment_id,
    quiet,
    short_patience,
)
from chemprop_hpo.hpo.tracking.sweep_run import SweepRun, describe_sweep, manifest_in
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.records import read_record
from chemprop_hpo.storage.studies import Study

__all__ = ["MANIFEST_ATTRIBUTE", "Added", "fill_in", "sweep_of"]

MANIFEST_ATTRIBUTE = "manifest"
"""The study's user attribute that holds the manifest of the driver that created it."""


def fill_in(
    db: Database,
    study: Study,
    config: SweepConfig,
    *,
    thorough: bool = True,
    read_observations: Callable[[Study, SweepConfig], Observations] | None = None,
) -> Added:
    """Add to MLflow what it lacks of a study, and end the runs of drivers that are gone.

    Runs of trials, members and ensembles that nobody logged, epochs as far as the database has
    them, figures, tags and artifacts. What a driver is at work on is left to it. A second call
    changes nothing.

    Parameters
    ----------
    db, study : Database, Study
        Only read.
    config : SweepConfig
        Says where MLflow is.
    thorough : bool
        Look at each step of each run: a call for each. Otherwise a run that was ended as the
        study says is taken to have all its steps.
    read_observations : callable, optional
        What the search found out about its parameters; asked once nobody works on the study.

    Returns
    -------
    Added

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or used; what was added until then stays.
    """
    uri = config.mlflow.tracking_uri
    with short_patience():
        client = connect(uri)
        experiment = experiment_id(client, config.mlflow)
        account = read_account(db, study, config)
        with quiet(), as_tracking_error(uri):
            log = RunLog(client, experiment, sweep_of(study, config))
            added = log.catch_up(account, now(), thorough=thorough)
            if read_observations is not None and not account.at_work:
                found = observed(partial(read_observations, study, config))
                added += log.log_observations(found)
            return added + Added(unkept=log.shelf.unkept)


def sweep_of(study: Study, config: SweepConfig) -> SweepRun:
    """Return what the run of a study's sweep says, from the study alone."""
    record = read_record(study)
    attributes: dict[str, Any] = study.user_attrs
    return describe_sweep(
        config.mlflow,
        study.study_name,
        record.config,
        manifest_in(record, attributes.get(MANIFEST_ATTRIBUTE)),
        dict(record.space),
        str(attributes["created"]),
    )
