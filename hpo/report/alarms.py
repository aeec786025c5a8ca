"""What a reader must know before trusting the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chemprop_hpo.hpo.report.calibration_tables import covered_range
from chemprop_hpo.hpo.report.content import EnsembleTarget, ReportContent, Target

__all__ = ["FEW_ROWS", "alarms"]

FEW_ROWS = 30
"""Figures of fewer labels than this say little."""

MOST_NAMED = 5


def alarms(content: ReportContent) -> tuple[str, ...]:
    """Return the content's own warnings, and those that follow from it."""
    return (*content.warnings, *_failed(content), *_unfinished(content), *_of_targets(content))


def _failed(content: ReportContent) -> Iterator[str]:
    failed = [member for member in content.members if member.error]
    if not failed:
        return
    named = "; ".join(
        f"rank {m.rank}, split {m.split}, fold {m.fold}: {m.error}" for m in failed[:MOST_NAMED]
    )
    rest = len(failed) - MOST_NAMED
    more = f"; and {rest} more" if rest > 0 else ""
    yield f"{len(failed)} of {len(content.members)} members failed ({named}{more})."


def _unfinished(content: ReportContent) -> Iterator[str]:
    trained = [member for member in content.members if not member.error and member.epochs]
    last = [member for member in trained if member.best_epoch == member.epochs]
    if trained and len(last) * 2 > len(trained):
        yield (
            f"{len(last)} of {len(trained)} members were best at their very last epoch: more "
            "epochs would probably have made them better."
        )


def _of_targets(content: ReportContent) -> Iterator[str]:
    results = list(zip(content.targets, content.ensembles[-1].targets, strict=True))
    for target, result in results:
        if result.out_of_fold is None:
            yield f"{target.name} could not be judged out of fold."
        if content.has_test and result.test is None:
            yield f"{target.name} has no labels in the test data."
    few = [said for target, result in results for said in _few_rows(target, result)]
    if few:
        yield f"Figures of few labels say little: {_listed(few)}."
    if content.task == "regression":
        narrow = [said for target, result in results for said in _narrow(target, result)]
        if narrow:
            yield f"Intervals are too narrow on test data: {_listed(narrow)}."


def _few_rows(target: Target, result: EnsembleTarget) -> Iterator[str]:
    for name, judged in (("out of fold", result.out_of_fold), ("on test", result.test)):
        if judged is not None and judged.n < FEW_ROWS:
            yield f"{target.name} has {judged.n} {name}"


def _narrow(target: Target, result: EnsembleTarget) -> Iterator[str]:
    """Name the level whose promise test data contradict most clearly."""
    coverage = {} if result.test is None else result.test.coverage
    broken = {
        level: covered
        for level, covered in coverage.items()
        if covered.n and covered_range(covered)[1] < level / 100
    }
    if broken:
        level, covered = max(broken.items(), key=lambda item: item[0] / 100 - item[1].share)
        share = f"{100 * covered.share:.0f} % of {covered.n} labels"
        yield f"those of {target.name} at {level} % held {share}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(", ".join(parts).rsplit(", ", 1))
