"""Draw every picture of a report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain

from chemprop_hpo.hpo.report.calibration import draw_coverage
from chemprop_hpo.hpo.report.classification import draw_classification
from chemprop_hpo.hpo.report.comparison import draw_comparison, draw_macro
from chemprop_hpo.hpo.report.content import ReportContent
from chemprop_hpo.hpo.report.drawing import Picture, house_style
from chemprop_hpo.hpo.report.folds import draw_folds, draw_members
from chemprop_hpo.hpo.report.learning_curves import draw_learning_curves
from chemprop_hpo.hpo.report.parity import draw_parity
from chemprop_hpo.hpo.report.parity_by_fold import draw_parity_by_fold
from chemprop_hpo.hpo.report.residuals import draw_residuals
from chemprop_hpo.hpo.report.searched.pictures import draw_searched

__all__ = ["COMPARED", "Pictures", "draw_pictures"]

COMPARED = {"regression": ("rmse", "r2"), "classification": ("roc_auc", "prc_auc")}
"""The figures that are drawn for all ensembles side by side."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a report, by the section that they stand in."""

    comparison: tuple[Picture, ...]
    members: tuple[Picture, ...]
    calibration: tuple[Picture, ...]
    by_target: tuple[tuple[Picture, ...], ...]
    search: tuple[Picture, ...] = ()

    def every(self) -> tuple[Picture, ...]:
        """Return all of them, in the order of the page."""
        of_study = (*self.comparison, *self.calibration, *self.search, *self.members)
        return (*of_study, *chain(*self.by_target))


def draw_pictures(content: ReportContent) -> Pictures:
    """Draw all pictures that the content has something to show for."""
    with house_style():
        return Pictures(
            comparison=_there(
                draw_macro(content, "macro.png"),
                *(draw_comparison(content, name, f"{name}.png") for name in COMPARED[content.task]),
            ),
            members=_there(
                draw_learning_curves(content, "learning_curves.png"),
                draw_members(content, "members.png"),
                draw_folds(content, "folds.png"),
            ),
            calibration=_there(draw_coverage(content, "coverage.png")),
            by_target=tuple(_of_target(content, i) for i in range(len(content.targets))),
            search=draw_searched(content.search),
        )


def _of_target(content: ReportContent, i: int) -> tuple[Picture, ...]:
    target, shown = content.targets[i], content.ensembles[-1]
    result, ending = shown.targets[i], f"{i + 1:02d}_{_plain(target.name)}.png"
    if content.task == "classification":
        return _there(draw_classification(target, result, shown.name, f"curves_{ending}"))
    return _there(
        draw_parity(target, result, shown.name, f"parity_{ending}"),
        draw_parity_by_fold(target, result, shown.name, f"parity_by_fold_{ending}"),
        draw_residuals(target, result, shown.name, f"residuals_{ending}"),
    )


def _plain(name: str) -> str:
    """Make a name safe for every file system; the number before it keeps names apart."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40].strip("_") or "target"


def _there(*pictures: Picture | None) -> tuple[Picture, ...]:
    return tuple(picture for picture in pictures if picture is not None)
