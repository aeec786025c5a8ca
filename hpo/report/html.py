"""Write the page, with all its pictures inside, and the pictures beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chemprop_hpo.hpo.chemistry.models.checkpoints import write_atomically
from chemprop_hpo.hpo.report.alarms import alarms
from chemprop_hpo.hpo.report.calibration_tables import calibration_table
from chemprop_hpo.hpo.report.content import ReportContent
from chemprop_hpo.hpo.report.drawing import Picture
from chemprop_hpo.hpo.report.figure_tables import by_target, overview, target_table
from chemprop_hpo.hpo.report.gains import Gains, gains
from chemprop_hpo.hpo.report.plots import Pictures, draw_pictures
from chemprop_hpo.hpo.report.searched.tables import search_table
from chemprop_hpo.hpo.report.study_tables import (
    configurations_table,
    decisions_table,
    members_table,
    weights_table,
)
from chemprop_hpo.hpo.report.summary import summary
from chemprop_hpo.hpo.report.tables import Table

__all__ = ["PLOTS", "REPORT", "page", "write_report"]

REPORT = "report.html"
PLOTS = "plots"
TEMPLATE = "page.html.j2"


def write_report(content: ReportContent, folder: Path) -> Path:
    """Write ``report.html`` and ``plots/*.png`` into a folder, each file whole or not at all.

    Parameters
    ----------
    content : ReportContent
        All that the report says.
    folder : Path
        Is made if it is not there. Files of an earlier report of the same names are replaced.

    Returns
    -------
    Path
        Of the page. It holds its pictures and needs no other file and no network.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    pictures = draw_pictures(content)
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for picture in pictures.every():
        write_atomically(folder / PLOTS / picture.file, picture.png)
    path = folder / REPORT
    write_atomically(path, page(content, pictures).encode())
    return path


def page(content: ReportContent, pictures: Pictures) -> str:
    """Return the page as HTML, with its pictures inside."""
    found = [gains(content, i) for i in range(len(content.targets))]
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            content=content,
            pictures=pictures,
            alarms=alarms(content),
            summary=summary(content, found),
            overview=overview(content, found),
            by_target=by_target(content),
            calibration=calibration_table(content),
            targets=_target_sections(content, pictures, found),
            weights=weights_table(content),
            decisions=decisions_table(content),
            configurations=configurations_table(content),
            search=search_table(content.search),
            members=members_table(content),
        )
    )


@dataclass(frozen=True)
class TargetSection:
    """What the page shows of one target."""

    name: str
    table: Table
    pictures: tuple[Picture, ...]


def _target_sections(
    content: ReportContent, pictures: Pictures, found: Sequence[Gains]
) -> list[TargetSection]:
    return [
        TargetSection(target.name, target_table(content, i, found[i]), pictures.by_target[i])
        for i, target in enumerate(content.targets)
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = _data_url
    return environment


def _data_url(picture: Picture) -> str:
    return f"data:image/png;base64,{b64encode(picture.png).decode()}"
