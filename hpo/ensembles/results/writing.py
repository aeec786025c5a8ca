"""Write all that ensembles leave behind: predictors, tables, the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.combining.candidates import SINGLE_BEST, Candidate
from chemprop_hpo.hpo.ensembles.results.content import Findings
from chemprop_hpo.hpo.ensembles.results.output import (
    BLIND,
    COMBINED_FOLDER,
    FIGURES,
    OUT_OF_FOLD,
    TEST,
    rank_folder,
    remove_other_ranks,
    remove_other_tables,
    remove_plots,
)
from chemprop_hpo.hpo.ensembles.results.predictor_writer import PredictorWriter
from chemprop_hpo.hpo.ensembles.results.records import predictor_record, write_records
from chemprop_hpo.hpo.ensembles.results.tables import (
    figures_table,
    out_of_fold_table,
    test_table,
    write_csv,
)
from chemprop_hpo.hpo.predictor import load_ensemble
from chemprop_hpo.hpo.predictor.streaming import predict_file
from chemprop_hpo.hpo.report.content import ReportContent
from chemprop_hpo.hpo.report.html import write_report

__all__ = ["record_of_ensembles", "write_all"]


def write_all(
    folder: Path,
    config: SweepConfig,
    writer: PredictorWriter,
    findings: Findings,
    content: ReportContent,
) -> None:
    """Write predictors, tables and the report; what stood there of an earlier call gives way.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    config : SweepConfig
    writer : PredictorWriter
        Writes the predictors.
    findings : Findings
    content : ReportContent
        What was made of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_predictors(folder, config, writer, findings)
    kept = _write_tables(folder, config, findings)
    write_csv(figures_table(content), folder / FIGURES)
    remove_other_tables(folder, {FIGURES, *kept})  # the blind file's is written last
    _write_records(folder, config, writer, findings)
    remove_plots(folder)
    write_report(content, folder)
    if config.data.blind_file is not None:
        ensemble = load_ensemble(folder / COMBINED_FOLDER)
        predict_file(ensemble, config.data.blind_file, folder / BLIND, force=True)


def _write_predictors(
    folder: Path, config: SweepConfig, writer: PredictorWriter, findings: Findings
) -> None:
    scored = _test_scored(config, findings)
    predictors = _by_folder(findings)
    for name, one in predictors.items():
        writer.write(folder / name, one, scored)
    remove_other_ranks(folder, len(predictors) - 1)


def _write_records(
    folder: Path, config: SweepConfig, writer: PredictorWriter, findings: Findings
) -> None:
    write_records(
        folder,
        {
            name: predictor_record(config, findings, one, writer.data, writer.trained)
            for name, one in _by_folder(findings).items()
        },
    )


def _by_folder(findings: Findings) -> dict[str, Candidate]:
    """Return what becomes a predictor, by the name of its folder; the combination comes last."""
    *ranks, combination = [one for one in findings.candidates if one.name != SINGLE_BEST]
    folders = {rank_folder(rank): one for rank, one in enumerate(ranks, start=1)}
    return folders | {COMBINED_FOLDER: combination}


def _write_tables(folder: Path, config: SweepConfig, findings: Findings) -> list[str]:
    """Write the tables of predictions, and return their names."""
    found = findings.candidates
    write_csv(out_of_fold_table(config, findings.held_out, found), folder / OUT_OF_FOLD)
    written = [OUT_OF_FOLD]
    if findings.test is not None:
        write_csv(test_table(config, findings.test, found), folder / TEST)
        written.append(TEST)
    return written


def record_of_ensembles(content: ReportContent) -> dict[str, Any]:
    """Return what the database is to remember of finished ensembles: choices and main figures."""
    return {
        "trials": {str(d.rank): d.trial for d in content.decisions if d.rank is not None},
        "members": len(content.members),
        "failed": sum(member.error is not None for member in content.members),
        "used": {
            target.name: one.used
            for target, one in zip(content.targets, content.combinations, strict=False)
        },
        "figures": {one.name: _figures(content, one.name) for one in content.ensembles},
    }


def _test_scored(config: SweepConfig, findings: Findings) -> dict[str, Any] | None:
    if findings.test is None:
        return None
    table = findings.test.table
    return {
        "at": findings.test.at.isoformat(timespec="seconds"),
        "file": table.path.name,
        "rows": len(table),
        "after": "the configurations were fixed and all members trained",
    }


def _figures(content: ReportContent, name: str) -> dict[str, dict[str, float]]:
    ensemble = next(one for one in content.ensembles if one.name == name)
    found: dict[str, dict[str, float]] = {}
    for target, judged in zip(content.targets, ensemble.targets, strict=True):
        for part, of_part in (("out_of_fold", judged.out_of_fold), ("test", judged.test)):
            if of_part is not None:
                found[f"{target.name}/{part}"] = {
                    figure: interval.value
                    for figure, interval in of_part.figures.items()
                    if math.isfinite(interval.value)
                }
    return found
