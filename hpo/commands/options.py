"""The arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORAGE = "sqlite:///studies.db"
STORAGE_VARIABLE = "CHEMPROP_HPO_STORAGE"

STORAGE_HELP = "The database: sqlite:///FILE or postgresql+psycopg://USER@HOST/DB."


class LogLevel(StrEnum):
    """How much is told on stderr."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"


SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="The sweep's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Values that replace those of the file, as in data.data_dir=my/fold seed=3.",
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="The study; without it, the most recent one."),
]


def _resolved(url: str) -> str:
    """Read variables of the environment, as a file's ``study.storage`` may name them."""
    if "${" not in url:
        return url
    from chemprop_hpo.configs.interpolation import resolve_text

    return resolve_text("--storage", url)


StorageUrl = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar=STORAGE_VARIABLE,
        help=STORAGE_HELP,
        callback=_resolved,
    ),
]
AcceptChangedData = Annotated[
    bool,
    typer.Option(
        "--accept-changed-data",
        help="Go on although data files have changed since the study began. Its finished trials "
        "keep values of the old data, beside new ones of the new data; the study notes it.",
        show_default=False,
    ),
]
Level = Annotated[
    LogLevel,
    typer.Option("--log-level", case_sensitive=False, help="WARNING also hides the display."),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
]
"""Read by ``main`` from the command line itself; declared so that each command takes it."""
