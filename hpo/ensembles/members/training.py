"""Train the members of an ensemble over Ray; killed at any moment, the next call goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from chemprop_hpo.configs.errors import SweepFailedError, UsageError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.molecule_set import MoleculeSet
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.ensembles.members.assignment import (
    Assignment,
    TrainingInterruptedError,
)
from chemprop_hpo.hpo.ensembles.members.crew import Crew
from chemprop_hpo.hpo.ensembles.members.events import MemberAudience, MemberObserver
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.ensembles.members.origin import note_origin, present_origin
from chemprop_hpo.hpo.ensembles.members.pool import Pool
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.hpo.trial.cluster import (
    connected,
    nodes,
    require_shared_folder,
    warn_where_disk_is_memory,
)
from chemprop_hpo.hpo.trial.interrupts import Interrupts
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.members import (
    MemberRecord,
    add_members,
    read_members,
    restart_member,
)
from chemprop_hpo.storage.outages import patiently, unless_away
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.pulse import Pulse
from chemprop_hpo.storage.studies import Study

__all__ = ["GO_ON", "TrainingInterruptedError", "train_members"]

log = logging.getLogger(__name__)

GO_ON = "finished members are kept; the same command goes on"

ENDED = frozenset({"complete", "failed"})


def train_members(
    db: Database,
    study: Study,
    config: SweepConfig,
    folder: Path,
    jobs: Sequence[MemberJob],
    molecules: MoleculeSet,
    observers: Sequence[MemberObserver] = (),
    *,
    how_to_go_on: str = GO_ON,
    retry_failed: bool = False,
    train: Train = train,
) -> list[MemberRecord]:
    """Train members, each to its end; those that ended before are left as they are.

    Several drivers may do so at once: each member is trained by one of them, and each returns
    when all members have ended. A complete member's folder holds ``best.pt``; one whose file is
    gone is trained anew.

    Parameters
    ----------
    db, study : Database, optuna.Study
        Where the members' state is kept.
    config : SweepConfig
        Says what one training takes and where Ray is.
    folder : Path
        The study's, absolute; members' folders are below it.
    jobs : sequence of MemberJob
        The first ones are trained first.
    molecules : MoleculeSet
        Of all folds.
    observers : sequence of MemberObserver
        Told what happens.
    how_to_go_on : str
        What a person is told where this ends early.
    retry_failed : bool
        Train members that failed before once more, and all of them where no file is left.
    train : callable
        Trains one model, with the signature of `chemprop_hpo.hpo.chemistry.training.train.train`.

    Returns
    -------
    list of MemberRecord
        In the order of ``jobs``; each is ``complete`` or ``failed``.

    Raises
    ------
    TrainingInterruptedError
        If a signal came.
    UsageError
        If members were trained and none of their files is there.
    ResourceError
        If one training does not fit onto any node.
    DiskFullError
        If there is no room left for checkpoints or for the database.
    SweepFailedError
        If Ray or the database went away, or another driver's models are not in the folder;
        what was finished is kept.
    """
    records = _known(db, study, folder, jobs, retry_failed)
    if all(record.state in ENDED for record in records):
        _tidy(folder, records)
        return records
    _note_origins(folder, records)
    work = Assignment(db, study, config, folder, jobs, how_to_go_on)
    with connected(config.ray.address), Interrupts(how_to_go_on, what="training") as interrupts:
        try:
            _train(work, molecules, MemberAudience(observers), interrupts, train)
            # All are trained, so a database that is away is waited for.
            records = patiently(
                work.read,
                config.study.outage_limit_s,
                is_enough=lambda: interrupts.received is not None,
            )
            if interrupts.received is not None:
                raise TrainingInterruptedError(interrupts.received, how_to_go_on)
        except Exception as error:
            failure = work.failure_of(error)
            if interrupts.received is not None:
                failure.exit_code = 128 + interrupts.received
            raise failure from (None if failure is not error else error.__cause__)
    _require_here(folder, records)
    _tidy(folder, records)
    return records


def _note_origins(folder: Path, records: Sequence[MemberRecord]) -> None:
    origin = present_origin()
    for record in records:
        if record.state not in ENDED:
            note_origin(folder / record.folder, origin)


def _require_here(folder: Path, records: Sequence[MemberRecord]) -> None:
    """Refuse to go on without models that a driver on another machine trained into its own disk."""
    complete = [record for record in records if record.state == "complete"]
    if missing := [record for record in complete if not _best_of(folder, record).exists()]:
        raise SweepFailedError(
            f"{folder}: {len(missing)} of {len(complete)} models are not there, the first "
            f"{_best_of(folder, missing[0]).relative_to(folder)}; where another machine trained "
            "them, let both see one folder (study.folder=PATH) or copy them from there; "
            f"{GO_ON}"
        )


def _known(
    db: Database, study: Study, folder: Path, jobs: Sequence[MemberJob], retry_failed: bool
) -> list[MemberRecord]:
    """Add the members, and have those trained again that must be."""
    records = add_members(db, study, [job.entry for job in jobs])
    lost = [r for r in records if r.state == "complete" and not _best_of(folder, r).exists()]
    failed = [r for r in records if r.state == "failed" and retry_failed]
    if not retry_failed:
        _require_some(folder, lost, sum(r.state == "complete" for r in records))
    for record in lost:
        log.warning("%s is gone; its member is trained anew", _best_of(folder, record))
        restart_member(db, record, anew=True)
    for record in failed:
        restart_member(db, record, anew=False)
    return read_members(db, study, [job.key for job in jobs]) if lost or failed else records


def _require_some(folder: Path, lost: Sequence[MemberRecord], complete: int) -> None:
    """Refuse to begin anew where all files are gone: mostly it is the folder that is not there."""
    if lost and len(lost) == complete:
        raise UsageError(
            f"{folder}: none of the {complete} models that were trained is there; say where the "
            "study's folder is: study.folder=PATH, or train all anew with --retry-failed"
        )


def _best_of(folder: Path, record: MemberRecord) -> Path:
    return TrialFolder(folder / record.folder).best_model


def _tidy(folder: Path, records: Sequence[MemberRecord]) -> None:
    """Remove checkpoints that a driver which was killed has left."""
    for record in records:
        if record.state == "complete":
            with suppress(OSError):  # nobody needs them
                TrialFolder(folder / record.folder).drop_checkpoints()


def _train(
    work: Assignment,
    molecules: MoleculeSet,
    audience: MemberAudience,
    interrupts: Interrupts,
    train: Train,
) -> None:
    require_shared_folder(work.folder)
    warn_where_disk_is_memory(molecules.nbytes)
    placement = place(work.config.resources, nodes())
    for line in placement.lines:
        log.info(line)
    size = min(placement.concurrency, len(work.jobs))
    driver = Driver.register(work.db, work.study)
    try:
        pool = Pool(work.config, work.folder, molecules, train, size)
        with Pulse(driver, work.study) as pulse:
            Crew(work, driver, pulse, pool, audience, interrupts).train()
    finally:
        with unless_away():
            driver.leave()
