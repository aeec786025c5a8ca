"""``registry`` with a server of MLflow's that answers 500, or goes away."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.hpo.commands.shell import Shell
from tests.hpo.ensembles.small_studies import stored_study
from tests.hpo.tracking.real_server import Way

STUDY = ("--study", "small", "--storage", "sqlite:///studies.db")
COMMANDS = ("status", "history", "promote", "rollback", "adopt")


class Broken(Way):
    """A server that answers the question by which it is found, and then breaks."""

    def __init__(self, port: int, *, goes_away: bool) -> None:
        super().__init__("", port)
        self.breaks = lambda path: not path.startswith("/api/2.0/mlflow/experiments/search")
        self.calls: list[str] = []
        self._goes_away = goes_away

    def passed_on(  # type: ignore[override]  # it knows which of them it is
        self, server: str, call: BaseHTTPRequestHandler, body: bytes | None
    ) -> tuple[int, bytes]:
        self.calls.append(call.path)
        if self._goes_away:
            call.close_connection = True
            self.close()
        return 200, b"{}"


@pytest.fixture(params=["answers 500", "goes away"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broken]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    broken = Broken(port, goes_away=request.param == "goes away")
    sections = {"tracking_uri": broken.uri}
    stored_study(tmp_path, mlflow=sections, promotion={"ledger": "sqlite:///ledger.db"})
    yield broken
    broken.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_breaks_is_told_in_one_line_with_what_to_do(
    shell: Shell, broken: Broken, command: str
) -> None:
    assert shell("registry", command, *STUDY) == 2
    assert broken.calls
    assert shell.err.count("error: ") == 1
    assert f"the MLflow registry at {broken.uri} cannot be used: " in shell.err
    assert shell.err.endswith("; start the server, or try again when it answers\n")
