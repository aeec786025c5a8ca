"""Make ensembles out of a study: choose, train, combine, calibrate, judge and write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.molecule_set import featurise_folds
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.ensembles.checking import check_data
from chemprop_hpo.hpo.ensembles.combining.candidates import candidates
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import predict_test_rows
from chemprop_hpo.hpo.ensembles.configurations.selection import Decision
from chemprop_hpo.hpo.ensembles.members.events import MemberObserver
from chemprop_hpo.hpo.ensembles.members.jobs import features_of
from chemprop_hpo.hpo.ensembles.members.training import GO_ON, train_members
from chemprop_hpo.hpo.ensembles.plan import EnsemblePlan, Request, plan_ensembles
from chemprop_hpo.hpo.ensembles.results.content import Findings, report_content
from chemprop_hpo.hpo.ensembles.results.notes import earlier_looks, notes_on, warnings_on
from chemprop_hpo.hpo.ensembles.results.output import check_output, writing_alone
from chemprop_hpo.hpo.ensembles.results.predictor_writer import PredictorWriter
from chemprop_hpo.hpo.ensembles.results.replacement import check_replacement
from chemprop_hpo.hpo.ensembles.results.writing import record_of_ensembles, write_all
from chemprop_hpo.hpo.ensembles.tracked import tracked, tracked_record
from chemprop_hpo.hpo.ensembles.trained import Trained, gather, training_molecules
from chemprop_hpo.hpo.identity import study_folder
from chemprop_hpo.hpo.report.content import ReportContent
from chemprop_hpo.hpo.report.searched.reading import read_search
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ensembles import add_ensemble, list_ensembles
from chemprop_hpo.storage.member_records import MemberRecord
from chemprop_hpo.storage.outages import is_outage, patiently
from chemprop_hpo.storage.studies import open_study

__all__ = ["EnsembleResult", "make_ensembles"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class EnsembleResult:
    """What came of it.

    Attributes
    ----------
    study : str
    folder : Path
        Where the predictors and the report are.
    decisions : list of Decision
    content : ReportContent
        All figures.
    failed : list of MemberRecord
        Members that could not be trained.
    """

    study: str
    folder: Path
    decisions: list[Decision]
    content: ReportContent
    failed: list[MemberRecord]


def make_ensembles(
    loaded: LoadedSweep,
    request: Request,
    observers: Sequence[MemberObserver] = (),
) -> EnsembleResult:
    """Train ensembles of a study's best configurations, and write predictors and a report.

    Members that were trained before are not trained again, so that the same call goes on where
    an earlier one was ended.

    Parameters
    ----------
    loaded : LoadedSweep
        The study's configuration, as it is here.
    request : Request
        Which configurations, on which folds, where to, and what else is allowed.
    observers : sequence of MemberObserver
        Told what happens.

    Raises
    ------
    UsageError, DataError, ResourceError, StorageError, StudyMismatchError, TrackingError
        Before anything is trained.
    SweepFailedError
        If no member of a configuration could be trained, or the cluster went away.
    """
    config = loaded.config
    with ExitStack() as stack:
        own = read_fold(config)
        check_data(loaded, own, accept_changed_data=request.accept_changed_data)
        db = stack.enter_context(open_database(config.study.storage, create=False))
        study = open_study(db, config.study_name)
        home = study_folder(config, db)
        folder = (request.output or home / "ensembles").absolute()
        check_output(folder, config.study_name)
        plan = plan_ensembles(study, config, request, own)
        check_replacement(folder, plan.keys, force=request.force)
        _say(plan)
        tracker = stack.enter_context(tracked(db, study, config, plan, folder))
        molecules = featurise_folds(plan.folds, config, *features_of(plan.jobs))
        records = train_members(
            db,
            study,
            config,
            home,
            plan.jobs,
            molecules,
            (*observers, *tracker.observers),
            retry_failed=request.retry_failed,
        )
        trained, held_out = gather(plan, home, molecules, records)
        training = training_molecules(plan, trained)
        findings = _find(config, plan, records, trained, held_out, training)
        if findings.test is not None:
            earlier = _waited_for(db, config, partial(list_ensembles, db, study))
            looks = earlier_looks(earlier, plan.keys)
            findings = replace(findings, warnings=(*findings.warnings, *looks))
        log.info("judging the ensembles and drawing the report")
        search = _waited_for(db, config, partial(read_search, study, config))
        content = report_content(config, db.masked_url, findings, search)
        writer = PredictorWriter(config, plan.decisions, trained, training, plan.data)
        with writing_alone(folder):
            check_output(folder, config.study_name)
            if not request.force:  # another command may have written there meanwhile
                check_replacement(folder, plan.keys, force=False)
            # First, since whoever reads the report has seen the test figures.
            record = record_of_ensembles(content) | tracked_record(config, plan, findings, trained)
            _waited_for(db, config, partial(add_ensemble, db, study, str(folder), record))
            write_all(folder, config, writer, findings, content)
            tracker.made()
    failed = [record for record in records if record.state != "complete"]
    return EnsembleResult(config.study_name, folder, plan.decisions, content, failed)


def _find(
    config: SweepConfig,
    plan: EnsemblePlan,
    records: Sequence[MemberRecord],
    trained: Sequence[Trained],
    held_out: OutOfFold,
    training: Sequence[str],
) -> Findings:
    keys = [member.key for member in trained]
    classification = config.task == "classification"
    found, weighting = candidates(held_out, keys, classification=classification, seed=config.seed)
    # Only now, when nothing is chosen any more.
    test = None if plan.test is None else predict_test_rows(plan.test, trained, training)
    return Findings(
        decisions=plan.decisions,
        members=[(plan.ranks[record.key.trial], record) for record in records],
        held_out=held_out,
        test=test,
        candidates=found,
        weighting=weighting,
        notes=(*plan.notes, *notes_on(config, found, test)),
        warnings=(*plan.warnings, *warnings_on(config, found, test)),
    )


def _waited_for(db: Database, config: SweepConfig, step: Callable[[], _T]) -> _T:
    """Ask the database, and wait for it: all models are trained."""
    try:
        return patiently(step, config.study.outage_limit_s)
    except Exception as error:
        if is_outage(error):
            raise SweepFailedError(f"{db.masked_url} is away; {GO_ON}") from error
        raise


def _say(plan: EnsemblePlan) -> None:
    for decision in plan.decisions:
        what = f"rank {decision.rank}" if decision.taken else "passed over"
        log.info("trial %d: %s (%s)", decision.trial.number, what, decision.reason)
    for line in plan.notes:
        log.info(line)
    for line in plan.warnings:
        log.warning(line)
