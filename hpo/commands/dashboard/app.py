"""The web application of the dashboard: optuna-dashboard's, without its power to do harm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.commands.dashboard.view import show_best_side

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from chemprop_hpo.storage.database import Database

__all__ = ["LOOPBACK", "dashboard_app"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

OWN_NOTES = re.compile(r"/api/studies/\d+(/\d+)?/note/?")
REFUSAL = "the dashboard changes no study; use chemprop-hpo sweep, resume or delete"


def dashboard_app(database: Database, place: str, *, only_here: bool = False) -> WSGIApplication:
    """Return the application for all studies of a database.

    Parameters
    ----------
    database : Database
        Where they are; from now on it reads as the dashboard shows it.
    place : str
        Its URL as a person may type it.
    only_here : bool
        Whether it is for this machine alone. Then a page of the web whose name was pointed to
        this machine reads nothing.

    Raises
    ------
    UsageError
        If optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UsageError(
            "optuna-dashboard is not installed; install it with: "
            "pip install 'chemprop-hpo[dashboard]'"
        ) from None
    return _harmless(wsgi(show_best_side(database, place)), only_here)


def _harmless(application: WSGIApplication, only_here: bool) -> WSGIApplication:
    """Let through what reads, and notes: a study is more than its rows in Optuna's tables."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # It fails where a client does not send this header.
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")
        if _may_pass(environ) and (not only_here or _names_this_machine(environ)):
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": REFUSAL}).encode()]

    return answer


def _names_this_machine(environ: Mapping[str, Any]) -> bool:
    name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
    return name in LOOPBACK


def _may_pass(environ: Mapping[str, Any]) -> bool:
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    writes_note = method == "PUT" and OWN_NOTES.fullmatch(path) is not None
    return method in ("GET", "HEAD", "OPTIONS") or writes_note
