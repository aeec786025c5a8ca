"""Put together what the report says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.combining.candidates import SINGLE_BEST, Candidate
from chemprop_hpo.hpo.ensembles.combining.combination import Weighting
from chemprop_hpo.hpo.ensembles.combining.judging import Judge, Predictions
from chemprop_hpo.hpo.ensembles.combining.nearness import out_of_fold_similarity
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold
from chemprop_hpo.hpo.ensembles.combining.test_predictions import PredictedTestRows
from chemprop_hpo.hpo.ensembles.configurations.selection import Decision
from chemprop_hpo.hpo.report import content as report
from chemprop_hpo.hpo.report.searched.content import Search
from chemprop_hpo.hpo.tracking.manifest import package_versions
from chemprop_hpo.storage.member_records import MemberRecord

__all__ = ["Findings", "report_content"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that was found out about the ensembles.

    Attributes
    ----------
    decisions : sequence of Decision
    members : sequence of (int, MemberRecord)
        Rank and record of each member, failed ones too.
    held_out : OutOfFold
    test : PredictedTestRows or None
    candidates : sequence of Candidate
    weighting : Weighting
    notes, warnings : tuple of str
    """

    decisions: Sequence[Decision]
    members: Sequence[tuple[int, MemberRecord]]
    held_out: OutOfFold
    test: PredictedTestRows | None
    candidates: Sequence[Candidate]
    weighting: Weighting
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def report_content(
    config: SweepConfig, storage: str, findings: Findings, search: Search | None = None
) -> report.ReportContent:
    """Judge all candidates, and return what the report shows.

    Parameters
    ----------
    config : SweepConfig
    storage : str
        The database, its password masked.
    findings : Findings
    search : Search, optional
        What the study searched and found.
    """
    data = config.data
    judge = Judge(config.task == "classification", data.transforms, config.seed)
    columns = zip(data.target_cols, data.units, data.transforms, strict=True)
    # Pictures show the last one only, and those of probabilities show no errors.
    shown = None if config.task == "classification" else findings.candidates[-1]
    near = None if shown is None else out_of_fold_similarity(findings.held_out, config.seed)
    return report.ReportContent(
        title=f"Ensembles of study {config.study_name}",
        study=config.study_name,
        storage=storage,
        metric=config.metric,
        mode=config.mode,
        task=config.task,
        created=datetime.now(UTC),
        targets=tuple(report.Target(*column) for column in columns),
        ensembles=tuple(
            _ensemble(one, judge, findings, near if one is shown else None)
            for one in findings.candidates
        ),
        members=tuple(_member(rank, record) for rank, record in findings.members),
        decisions=tuple(_decision(decision) for decision in findings.decisions),
        configurations={
            d.rank: dict(d.trial.params) for d in findings.decisions if d.rank is not None
        },
        combinations=_combinations(findings.weighting),
        notes=findings.notes,
        warnings=findings.warnings,
        versions=package_versions(),
        search=search,
    )


def _ensemble(
    candidate: Candidate, judge: Judge, findings: Findings, near: Float64 | None
) -> report.Ensemble:
    rows, test = findings.held_out.rows, findings.test
    said = candidate.out_of_fold
    of_test = None if test is None else candidate.say(test.outputs)
    macro_out_of_fold = macro_test = None
    # Of one fold only, the single best model's figure is not comparable with the others'.
    if candidate.name != SINGLE_BEST:
        macro_out_of_fold = judge.macro(said, rows.targets, rows.canonical)
    if test is not None and of_test is not None:
        macro_test = judge.macro(of_test, test.table.targets, test.table.canonical)
    return report.Ensemble(
        name=candidate.name,
        targets=tuple(
            _target(t, candidate, judge, findings, of_test, near)
            for t in range(rows.targets.shape[1])
        ),
        macro_out_of_fold=macro_out_of_fold,
        macro_test=macro_test,
    )


def _target(
    t: int,
    candidate: Candidate,
    judge: Judge,
    findings: Findings,
    of_test: Predictions | None,
    near: Float64 | None,
) -> report.EnsembleTarget:
    held_out, test = findings.held_out, findings.test
    labels, said = held_out.rows.targets, candidate.out_of_fold
    calibration = candidate.calibrations[t]
    judged_test = None
    if test is not None and of_test is not None:
        judged_test = judge.target(
            t,
            of_test,
            test.table.targets,
            calibration,
            test.similarity,
            molecules=test.table.canonical,
        )
    folds = _own_folds(candidate, held_out)
    return report.EnsembleTarget(
        out_of_fold=judge.target(
            t,
            said,
            labels,
            calibration,
            near,
            molecules=held_out.rows.canonical,
            folds=next(iter(folds.values())) if len(folds) == 1 else None,
        ),
        test=judged_test,
        by_fold=judge.by_fold(t, said, labels, folds),
    )


def _own_folds(candidate: Candidate, held_out: OutOfFold) -> dict[int, NDArray[np.int64]]:
    """Return the folds of the splits that its members come from."""
    splits = {split for _, split, _ in candidate.shares}
    return {split: folds for split, folds in held_out.folds.items() if split in splits}


def _member(rank: int, record: MemberRecord) -> report.Member:
    return report.Member(
        rank=rank,
        trial=record.key.trial,
        split=record.key.split,
        fold=record.key.fold,
        seed=record.seed,
        epochs=record.epoch,
        best_epoch=record.best_epoch,
        value=record.value,
        stop_reason=record.stop_reason or record.state,
        curve=tuple(math.nan if value is None else value for value in record.curve),
        error=None if record.state == "complete" else record.reason,
    )


def _decision(decision: Decision) -> report.Decision:
    trial = decision.trial
    value = math.nan if trial.value is None else trial.value
    return report.Decision(decision.rank, trial.number, value, decision.taken, decision.reason)


def _combinations(weighting: Weighting) -> tuple[report.Combination, ...]:
    if len(weighting.units) < 2:
        return ()
    names = tuple(f"rank {rank}, split {split}" for rank, split in weighting.units)
    return tuple(
        report.Combination(names, tuple(map(float, one.weights)), one.gain, one.used)
        for one in weighting.chosen
    )
