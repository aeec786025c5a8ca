"""Run a sweep on all services of docker-compose.yml, from its beginning to a rollback.

``python -m tests.stack`` takes a few minutes, needs neither Docker nor a network, and ends every
process that it starts.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import psycopg
from mlflow import MlflowClient

from tests.stack.compose import ROOT, references
from tests.stack.processes import Service, StackError
from tests.stack.services import Stack, stack

STUDY = "stack"
SWEEP = ("sweep", "project/tests/stack/sweep.yaml")
UP = ("mlflow", "ray-head", "ray-worker", "dashboard")


def main() -> int:
    """Start the services, then go through the steps one by one."""
    variables = {name: token_hex(16) for name, (kind, _) in references().items() if kind == "?"}
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with stack(variables) as services:
        say(begun, "PostgreSQL and S3 are ready, with databases and bucket")
        (services.work / "project").symlink_to(ROOT)
        (services.work / "data").symlink_to(ROOT / "data")
        for name in UP:
            services.begin(name)
            say(begun, f"{name} is up")
        for step in STEPS:
            say(begun, f"{step.__name__}: {step(services)}")
    say(begun, "everything is ended")
    return 0


def sweep_and_interrupt(services: Stack) -> str:
    """Start a sweep, and stop it as ``docker stop`` does, once a trial is finished."""
    sweep = services.run("hpo", *SWEEP)
    try:
        wait_for(sweep, lambda: finished(services) >= 1)
        sweep.process.send_signal(signal.SIGTERM)
        code = sweep.process.wait(120)
    finally:
        sweep.end()
    expect(code == 143, f"exit code {code}", sweep)
    return f"stopped after {finished(services)} of 6 trials"


def resume(services: Stack) -> str:
    """Go on with the study, to its end."""
    said = services.finish("hpo", "resume", "--study", STUDY)
    done = finished(services)
    if done != 6:
        raise StackError(f"{done} of 6 trials are finished\n{said}")
    return "6 of 6 trials are finished"


def ensembles(services: Stack) -> str:
    """Train the two best configurations on both folds, and predict the test molecules."""
    services.finish("hpo", "ensembles", "--study", STUDY, "--top-k", "2", "-o", "ensembles")
    (manifest,) = (services.work / "ensembles" / "combined").glob("manifest.json")
    return f"{len(json.loads(manifest.read_text()))} entries in {manifest.parent.name}'s manifest"


def candidate(services: Stack) -> str:
    """Retrain the best configuration, and register it."""
    return last_line(services.finish("hpo", "registry", "candidate", "--study", STUDY), "version")


def promote(services: Stack) -> str:
    """Make the candidate the champion: the first one is, without a comparison."""
    return last_line(services.finish("hpo", "registry", "promote", "--study", STUDY), "champion")


def candidate_of_ensemble(services: Stack) -> str:
    """Register the ensemble."""
    options = ("--study", STUDY, "--ensemble", "ensembles")
    return last_line(services.finish("hpo", "registry", "candidate", *options), "version")


def rollback(services: Stack) -> str:
    """Take the second promotion back, and find both champions in MLflow and in the ledger."""
    said = services.finish("hpo", "registry", "rollback", "--study", STUDY, "--reason", "a test")
    client = MlflowClient(tracking_uri=services.url("mlflow"))
    champion = str(client.get_model_version_by_alias(STUDY, "champion").version)
    status = client.get_model_version(STUDY, "2").tags.get("status")
    if (champion, status) != ("1", "failed_in_monitoring"):
        raise StackError(f"champion {champion}, version 2 is {status}\n{said}")
    return last_line(said, "champion")


def tracked(services: Stack) -> str:
    """Find the runs in MLflow, none of them open, and their artifacts in the bucket."""
    client = MlflowClient(tracking_uri=services.url("mlflow"))
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    left = [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    kinds = Counter(run.data.tags.get("chemprop_hpo.kind") for run in runs)
    if left or kinds["sweep"] != 1 or kinds["trial"] < 6 or kinds["ensemble"] < 1:
        raise StackError(f"runs in MLflow: {dict(kinds)}; still open: {left}")
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "val_rmse")
        if len(history) != len({metric.step for metric in history}):
            raise StackError(f"a step of {run.info.run_name} was logged twice")
    keys = objects(services)
    if not any("/artifacts/" in key for key in keys):
        raise StackError(f"no artifact is in the bucket: {keys}")
    return f"{len(runs)} runs, {len(keys)} artifacts in the bucket"


STEPS: tuple[Callable[[Stack], str], ...] = (
    sweep_and_interrupt,
    resume,
    ensembles,
    candidate,
    promote,
    candidate_of_ensemble,
    promote,
    rollback,
    tracked,
)


def last_line(said: str, word: str) -> str:
    """Return the last line that has a word in it."""
    return next(line for line in reversed(said.splitlines()) if word in line)


def finished(services: Stack) -> int:
    """Return how many pieces of work of the study are done, as its database has it."""
    query = """
        SELECT count(*) FROM trials JOIN studies USING (study_id)
        WHERE study_name = %s AND state IN ('COMPLETE', 'PRUNED')
    """
    password = services.secrets["STUDIES_PASSWORD"]
    url = services.database("studies", "chemprop_hpo")
    with psycopg.connect(url, password=password) as database:
        row = database.execute(query, [STUDY]).fetchone()
    return int(row[0]) if row else 0


def objects(services: Stack) -> list[str]:
    """Return what is in the bucket, asked with the keys of the file."""
    given = services.environment("prepare")
    store: Any = boto3.client(
        "s3",
        endpoint_url=given["S3_URL"],
        region_name=given["AWS_DEFAULT_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    return [found["Key"] for found in store.list_objects_v2(Bucket="mlflow").get("Contents", [])]


def wait_for(service: Service, happened: Callable[[], bool], within_s: float = 240) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        expect(not service.is_over(), "it ended early", service)
        expect(time.monotonic() < deadline, f"nothing happened within {within_s:.0f} s", service)
        time.sleep(0.3)


def expect(held: bool, otherwise: str, service: Service) -> None:
    if not held:
        raise StackError(f"{service.name}: {otherwise}\n{service.said()[-4000:]}")


def say(begun: float, line: str) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {line}", flush=True)  # noqa: T201  # a program


if __name__ == "__main__":
    if not Path("data/freesolv.csv").exists():
        sys.exit("data/freesolv.csv is missing; make data/freesolv.csv, or make stack-test")
    try:
        sys.exit(main())
    except StackError as error:
        sys.exit(f"error: {error}")
