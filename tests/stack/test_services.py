"""PostgreSQL, S3, MLflow and the dashboard, wired as docker-compose.yml wires them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
from mlflow import MlflowClient

from tests.hpo.commands.made_study import SWEEP_YAML, TABLE, make_study
from tests.stack.compose import references
from tests.stack.services import Stack, stack

SECRETS = {name: f"secret-of-{name}" for name, (kind, _) in references().items() if kind == "?"}


@pytest.fixture(scope="module")
def services() -> Iterator[Stack]:
    with stack(SECRETS) as made:
        made.begin("mlflow")
        made.begin("dashboard")
        yield made


def connect(services: Stack, database: str, user: str, variable: str) -> psycopg.Connection:
    return psycopg.connect(services.database(database, user), password=SECRETS[variable])


def test_nobody_gets_in_without_a_password(services: Stack) -> None:
    for user in ("postgres", "chemprop_hpo", "mlflow"):
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(services.database("studies", user))


def test_each_owner_gets_into_its_own_databases_only(services: Stack) -> None:
    connect(services, "studies", "chemprop_hpo", "STUDIES_PASSWORD").close()
    connect(services, "ledger", "chemprop_hpo", "STUDIES_PASSWORD").close()
    connect(services, "mlflow", "mlflow", "MLFLOW_PASSWORD").close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(services, "studies", "mlflow", "MLFLOW_PASSWORD")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(services, "mlflow", "chemprop_hpo", "STUDIES_PASSWORD")


def test_preparing_once_more_keeps_what_is_there_and_sets_the_passwords_of_today(
    services: Stack,
) -> None:
    with connect(services, "ledger", "chemprop_hpo", "STUDIES_PASSWORD") as ledger:
        ledger.execute("CREATE TABLE kept AS SELECT 1")
    with psycopg.connect(
        services.database("postgres", "postgres"), password=SECRETS["POSTGRES_PASSWORD"]
    ) as server:
        server.execute("ALTER ROLE chemprop_hpo PASSWORD 'of yesterday'")
    assert "are ready" in services.finish("prepare")
    with connect(services, "ledger", "chemprop_hpo", "STUDIES_PASSWORD") as ledger:
        assert ledger.execute("SELECT * FROM kept").fetchall() == [(1,)]


def test_artifacts_reach_the_bucket_through_mlflow(services: Stack, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=services.url("mlflow"))
    run = client.create_run(client.create_experiment("assays")).info
    client.log_text(run.run_id, "5.3", "pIC50.txt")
    assert run.artifact_uri.startswith("mlflow-artifacts:/")
    read = client.download_artifacts(run.run_id, "pIC50.txt", str(tmp_path))
    assert Path(read).read_text() == "5.3"
    environment = services.environment("prepare")
    store = boto3.client(
        "s3",
        endpoint_url=environment["S3_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    keys = [found["Key"] for found in store.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert any(key.endswith(f"{run.run_id}/artifacts/pIC50.txt") for key in keys)


def test_what_mlflow_remembers_is_in_postgresql(services: Stack) -> None:
    client = MlflowClient(tracking_uri=services.url("mlflow"))
    made = client.create_experiment("remembered")
    with connect(services, "mlflow", "mlflow", "MLFLOW_PASSWORD") as database:
        found = database.execute(
            "SELECT experiment_id FROM experiments WHERE name = 'remembered'"
        ).fetchall()
    assert found == [(int(made),)]


@pytest.mark.parametrize(
    ("host", "code"), [("mlflow:5000", 200), ("localhost:5001", 200), ("evil.example", 403)]
)
def test_mlflow_answers_to_the_names_that_it_is_called_by(
    services: Stack, host: str, code: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", services.local.ports["mlflow"], timeout=30)
    where = "/api/2.0/mlflow/experiments/search?max_results=1"
    connection.request("GET", where, headers={"Host": host})
    assert connection.getresponse().status == code
    connection.close()


def test_the_dashboard_shows_a_study_that_began_after_it(
    services: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRETS["STUDIES_PASSWORD"])
    (tmp_path / "esol.yaml").write_text(SWEEP_YAML)
    (tmp_path / "esol.csv").write_text(TABLE)
    url = services.environment("dashboard")["CHEMPROP_HPO_STORAGE"]
    make_study("esol", tmp_path / "esol.yaml", url)
    connection = http.client.HTTPConnection(
        "127.0.0.1", services.local.ports["dashboard"], timeout=30
    )
    connection.request("GET", "/api/studies")
    listed = json.loads(connection.getresponse().read())["study_summaries"]
    connection.close()
    assert [study["study_name"] for study in listed] == ["esol"]


def test_no_secret_is_in_the_list_of_processes_or_in_a_log(services: Stack) -> None:
    shown = {}
    for name, service in services.up.items():
        started = psutil.Process(service.process.pid)
        family = [started, *started.children(recursive=True)]
        shown[name] = [" ".join(process.cmdline()) for process in family]
        shown[f"{name}.log"] = service.said().splitlines()
    assert len(shown["mlflow"]) > 1
    # A key's name is no secret: it stands in every request that the key signs.
    secrets = [value for name, value in SECRETS.items() if name != "S3_ACCESS_KEY"]
    told = [
        (name, line)
        for name, lines in shown.items()
        for line in lines
        if any(secret in line for secret in secrets)
    ]
    assert told == []
