"""``dashboard``: a study in a browser, to be looked at."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.hpo.commands.dashboard.app import dashboard_app
from chemprop_hpo.hpo.commands.dashboard.note import mlflow_line
from chemprop_hpo.hpo.commands.dashboard.server import DashboardServer, listening
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from tests.hpo.commands.made_study import SWEEP_YAML, TABLE, make_study
from tests.hpo.commands.shell import SECRET, Shell

STORAGE = "sqlite:///studies.db"


@contextmanager
def shown(*, only_here: bool = True) -> Iterator[DashboardServer]:
    with (
        open_database(STORAGE, create=False) as database,
        listening(dashboard_app(database, STORAGE, only_here=only_here), "127.0.0.1", 0) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: DashboardServer, method: str, path: str, body: Any = None, host: str = "localhost"
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", f"{host}:{server.server_port}")
    data = b"" if body is None else json.dumps(body).encode()
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data)
    answer = connection.getresponse()
    content = answer.status, answer.read()
    connection.close()
    return content


def detail(server: DashboardServer) -> Any:
    code, body = ask(server, "GET", "/api/studies/1")
    assert code == 200, body
    return json.loads(body)


def test_it_shows_first_why_a_trial_ended_and_its_head(study: str) -> None:
    with shown() as server:
        seen = detail(server)
    best = {a["key"]: a["value"] for a in seen["trials"][1]["user_attrs"]}
    assert list(best)[:4] == ["stop_reason", "head", "best_epoch", "epochs"]
    assert (best["stop_reason"], best["head"]) == ("max_t", "branched")
    sortable = {a["key"]: a["sortable"] for a in seen["union_user_attrs"]}
    assert sortable["val_rmse"]
    assert sortable["generalisation_gap"]
    assert seen["trials"][2]["user_attrs"][0] == {"key": "stop_reason", "value": "asha"}


@pytest.mark.parametrize(("only_here", "code"), [(True, 403), (False, 200)])
def test_a_name_that_was_pointed_here_reads_nothing(study: str, only_here: bool, code: int) -> None:
    with shown(only_here=only_here) as server:
        assert ask(server, "GET", "/api/studies/1", host="elsewhere.example")[0] == code
        assert ask(server, "GET", "/api/studies/1", host="127.0.0.1")[0] == 200


def test_its_axes_are_named_after_the_metric(study: str) -> None:
    with shown() as server:
        assert detail(server)["objective_names"] == ["val_loss"]


def test_its_note_has_the_best_configuration_and_where_else_to_look(study: str) -> None:
    with shown() as server:
        note = detail(server)["note"]["body"]
    assert "### Best: trial 1, val_loss 0.3" in note
    assert "| `trunk_n_layers` | `2` |" in note
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in note
    assert "`chemprop-hpo status --study esol`" in note


def test_looking_writes_nothing_into_the_study(study: str) -> None:
    with open_database(STORAGE) as database:
        before = database.storage.get_all_studies()[0], database.storage.get_all_trials(1)
    with shown() as server:
        detail(server)
    with open_database(STORAGE) as database:
        after = database.storage.get_all_studies()[0], database.storage.get_all_trials(1)
    assert after == before


def test_a_persons_own_note_comes_in_place_of_ours(study: str) -> None:
    with shown() as server:
        version = detail(server)["note"]["version"]
        mine = {"version": version + 1, "body": "check *trial 5* again"}
        assert ask(server, "PUT", "/api/studies/1/note", mine)[0] == 204
        assert detail(server)["note"] == mine


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/api/studies/1", {}),
        ("POST", "/api/studies/1/rename", {"study_name": "mine"}),
        ("POST", "/api/studies", {"study_name": "new", "directions": ["minimize"]}),
        ("POST", "/api/trials/1/tell", {"state": "FAIL"}),
        ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"head": "other"}}),
        ("PUT", "/api/studies/1/note/../../2", {}),
    ],
)
def test_it_cannot_change_a_study(study: str, method: str, path: str, body: Any) -> None:
    with shown() as server:
        code, said = ask(server, method, path, body)
        assert code == 403
        assert b"chemprop-hpo sweep, resume or delete" in said
        names = json.loads(ask(server, "GET", "/api/studies")[1])["study_summaries"]
    assert [s["study_name"] for s in names] == [study]
    with open_database(STORAGE) as database:
        assert open_study(database, study).trials[0].user_attrs["head"] == "regression"


def test_pages_come_to_a_client_that_says_nothing_of_compression(study: str) -> None:
    with shown() as server:
        assert ask(server, "GET", "/static/bundle.js")[0] == 200
        assert ask(server, "GET", "/favicon.ico")[0] == 200


def test_the_command_serves_until_it_is_stopped(study: str) -> None:
    command = [sys.executable, "-m", "chemprop_hpo", "dashboard", "--port", "0"]
    with subprocess.Popen([*command, "--no-browser"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(4)]
        page = lines[1].split()[-1]
        host, _, port = page.removeprefix("http://").partition("/")[0].partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/" + page.split("/", 3)[3])
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "the dashboard is closed\n"
        assert process.wait(30) == 130
    assert lines[0] == "most recent study: esol\n"
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in lines[2]


def test_a_storage_without_a_study_shows_what_begins(tmp_path: Path, shell: Shell) -> None:
    open_database(STORAGE).close()
    with shown() as server:
        before = json.loads(ask(server, "GET", "/api/studies")[1])["study_summaries"]
        (tmp_path / "new.yaml").write_text(SWEEP_YAML)
        (tmp_path / "esol.csv").write_text(TABLE)
        make_study("new", tmp_path / "new.yaml", STORAGE)
        after = json.loads(ask(server, "GET", "/api/studies")[1])["study_summaries"]
    assert before == []
    assert [summary["study_name"] for summary in after] == ["new"]


def test_the_command_starts_without_a_study() -> None:
    open_database(STORAGE).close()
    command = [sys.executable, "-m", "chemprop_hpo", "dashboard", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("no study yet; what begins is shown at http")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


def test_a_study_that_is_not_there_is_one_line(study: str, shell: Shell) -> None:
    assert shell("dashboard", "--study", "esoll") == 2
    assert "no study 'esoll'" in shell.err


def test_a_port_that_is_taken_is_one_line(study: str, shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert shell("dashboard", "--study", study, "--port", port, "--no-browser") == 2
    (line,) = shell.err.splitlines()
    assert f"cannot listen on port {port} of 127.0.0.1" in line
    assert "--port" in line


def test_without_the_extra_it_says_what_to_install(
    study: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert shell("dashboard", "--study", study) == 2
    assert "pip install 'chemprop-hpo[dashboard]'" in shell.err


def test_a_server_of_mlflow_is_named_without_its_password() -> None:
    uri = f"http://me:{SECRET}@mlflow:5000"
    line = mlflow_line({"mlflow": {"tracking_uri": uri, "experiment_name": "assays"}})
    assert line == "its runs are in MLflow at http://me:***@mlflow:5000, experiment assays"


def test_a_browser_is_sent_where_it_finds_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEMPROP_HPO_MLFLOW_UI", "http://127.0.0.1:5000")
    line = mlflow_line({"mlflow": {"tracking_uri": "http://mlflow:5000"}})
    assert "MLflow at http://127.0.0.1:5000," in line
    assert "mlflow.db" in mlflow_line({"mlflow": {}})


def test_runs_that_were_not_logged_are_not_looked_for() -> None:
    assert "not logged" in mlflow_line({"mlflow": {"tracking": False}})
