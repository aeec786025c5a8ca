"""``dashboard``: look at a study in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.console import note
from chemprop_hpo.hpo.commands.logs import hush_optuna
from chemprop_hpo.hpo.commands.opening import OpenStudy, existing_database, latest
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl, StudyName
from chemprop_hpo.hpo.trial.interrupts import Stopped

if TYPE_CHECKING:
    from chemprop_hpo.hpo.commands.dashboard.server import DashboardServer
    from chemprop_hpo.storage.database import Database

HELP = """\
Show a study in a browser, with optuna-dashboard, until Ctrl-C.

It may run while a sweep does. It looks, and changes nothing but the notes that you write in
it: studies are made, renamed and deleted by commands. Whoever reaches the address sees all
studies of the storage, so it listens to this machine only, unless --host says otherwise.

\b
Examples:
  chemprop-hpo dashboard
  chemprop-hpo dashboard --study esol --port 8081
  chemprop-hpo dashboard --storage postgresql+psycopg://me@db/studies --no-browser
"""

Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 picks a free one.")
]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="Only say the address.", show_default=False)
]


def dashboard(
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    no_browser: NoBrowser = False,
    debug: Debug = False,
) -> None:
    """Serve the dashboard, and open the study's page."""
    from chemprop_hpo.hpo.commands.dashboard.app import LOOPBACK, dashboard_app
    from chemprop_hpo.hpo.commands.dashboard.server import listening

    with existing_database(storage) as database:
        shown = _chosen(database, study)
        place = shown.url if shown else database.masked_url
        application = dashboard_app(database, place, only_here=host in LOOPBACK)
        hush_optuna()
        with listening(application, host, port) as server:
            page = server.address + _path(shown)
            for line in _lines(shown, page):
                note(line)
            if not no_browser and _has_screen():
                webbrowser.open(page)
            _serve(server)


def _chosen(database: Database, name: str | None) -> OpenStudy | None:
    """Return the study of that name, else the most recent one, else none: one may yet begin."""
    from chemprop_hpo.storage.studies import list_studies, open_study, read_record

    if name is None and all(summary.foreign for summary in list_studies(database)):
        return None
    name = name or latest(database)
    study = open_study(database, name)
    return OpenStudy(name, database, study, read_record(study))


def _path(shown: OpenStudy | None) -> str:
    number = f"/studies/{shown.database.study_id(shown.study)}" if shown else ""
    return f"/dashboard{number}"


def _serve(server: DashboardServer) -> None:
    try:
        server.serve_forever()
    except Stopped as stop:  # the only way to end it
        note("the dashboard is closed")
        raise typer.Exit(128 + stop.number) from None


def _lines(shown: OpenStudy | None, page: str) -> list[str]:
    from chemprop_hpo.hpo.commands.dashboard.note import mlflow_line

    ending = "Ctrl-C ends the dashboard; sweeps go on"
    if shown is None:
        return [f"no study yet; what begins is shown at {page}", ending]
    return [
        f"study {shown.name} is shown at {page}",
        mlflow_line(shown.record.config),
        ending,
    ]


def _has_screen() -> bool:
    # Without one, a text browser may take over the terminal.
    on_unix = sys.platform not in ("darwin", "win32")
    return not on_unix or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
