"""Artifacts in an S3 bucket, of a store that is a file: no server of MLflow's."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from mlflow import MlflowClient
from moto import settings
from moto.server import ThreadedMotoServer

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.tracking.account import Best
from chemprop_hpo.hpo.tracking.fill_in import fill_in
from chemprop_hpo.hpo.tracking.server import connect, experiment_id
from tests.hpo.tracking.known_study import add_trial, known_study, opened
from tests.hpo.tracking.sweeps_told import (
    ended,
    epoch,
    observer,
    over,
    play,
    split_runs,
    started,
    steps,
    trial,
)

BUCKET = "assays"
BEST = Best({"best_value": 0.2}, "model: {}\n", 1)


USER = "chemist"
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass
class Bucket:
    """A bucket on a server of its own, and a user who may use it or not."""

    monkeypatch: pytest.MonkeyPatch
    s3: Any
    iam: Any

    @property
    def location(self) -> str:
        return f"s3://{BUCKET}/hpo"

    def objects(self) -> dict[str, bytes]:
        with self.monkeypatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
            keys = [e["Key"] for e in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
            bodies = [self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys]
        return {key.rpartition("/")[2]: body for key, body in zip(keys, bodies, strict=True)}

    def allow(self) -> None:
        with self.monkeypatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
            self.iam.put_user_policy(
                UserName=USER, PolicyName="all", PolicyDocument=json.dumps(ALL)
            )


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, free_port: int) -> Iterator[Bucket]:
    """A bucket that its user may not use."""
    server = ThreadedMotoServer("127.0.0.1", free_port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{free_port}"
    urllib.request.urlopen(f"{url}/moto-api/reset", b"").close()
    keys = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
    s3, iam = (
        boto3.client(name, endpoint_url=url, region_name="us-east-1", **keys)
        for name in ("s3", "iam")
    )
    s3.create_bucket(Bucket=BUCKET)
    iam.create_user(UserName=USER)
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # It has the keys of an earlier test.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    yield Bucket(monkeypatch, s3, iam)
    server.stop()


@pytest.fixture
def bucket(refused: Bucket) -> Bucket:
    """A bucket that its user may use."""
    refused.allow()
    return refused


def test_artifacts_lie_in_the_bucket_and_runs_in_the_file(
    uri: str, client: MlflowClient, bucket: Bucket
) -> None:
    told = observer(uri, artifact_location=bucket.location)
    play(told, started(), trial(0), epoch(0, 1), ended(0), over())
    [parent], _ = split_runs(client)
    assert parent.info.artifact_uri.startswith(f"{bucket.location}/")
    assert bucket.objects().keys() == {"config.yaml", "manifest.json", "space.json"}
    kept = client.list_artifacts(parent.info.run_id)
    assert {file.path for file in kept} == bucket.objects().keys()


def test_a_bucket_without_permission_costs_one_warning_and_no_metric(
    uri: str, client: MlflowClient, refused: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    told = observer(uri, artifact_location=refused.location)
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, started(), trial(0), epoch(0, 1), epoch(0, 2), ended(0), over())
    [warning] = [record.getMessage() for record in caplog.records]
    assert "artifacts cannot be stored in s3://assays" in warning
    assert "AccessDenied" in warning
    assert "\n" not in warning
    [parent], trials = split_runs(client)
    assert (parent.info.status, trials[0].info.status) == ("FINISHED", "FINISHED")
    assert steps(client, trials[0], "val_loss") == [1, 2]


def test_a_bucket_that_does_not_answer_is_asked_once_and_once_more_at_the_end(
    uri: str, client: MlflowClient, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    tries: list[str] = []

    def no_answer(client: MlflowClient, run_id: str, text: str, name: str) -> None:
        tries.append(name)
        raise ConnectTimeoutError(endpoint_url="https://assays.s3")

    monkeypatch.setattr(MlflowClient, "log_text", no_answer)
    told = observer(uri, artifact_location=f"s3://{BUCKET}/hpo", read_best=lambda: BEST)
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, started(resumed=True), trial(0), epoch(0, 1), ended(0), over())
    # Three bundles of files were to be kept.
    assert len(tries) == 2
    [parent], _ = split_runs(client)
    assert parent.info.status == "FINISHED"
    assert len(caplog.records) == 1


def test_what_a_bucket_refused_is_added_once_it_may_be_written(
    uri: str, tmp_path: Path, refused: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    where = {"tracking_uri": uri, "artifact_location": refused.location}
    loaded = known_study(tmp_path, uri, mlflow=where)
    db, study = opened(loaded)
    with db:
        add_trial(study, "COMPLETE", 0.4, 3)
        with caplog.at_level(logging.WARNING, "chemprop_hpo"):
            first = fill_in(db, study, loaded.config)
        assert (first.runs, first.artifacts, first.unkept) == (2, 0, 4)
        assert [record.levelname for record in caplog.records].count("WARNING") == 1
        refused.allow()
        added = fill_in(db, study, loaded.config)
        assert (added.runs, added.steps, added.artifacts, added.unkept) == (0, 0, 4, 0)
        assert not fill_in(db, study, loaded.config)
    assert refused.objects().keys() == {
        "best_configs.yaml",
        "config.yaml",
        "manifest.json",
        "space.json",
    }


def test_a_bucket_that_does_not_exist_is_named(
    uri: str, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    told = observer(uri, artifact_location="s3://elsewhere/hpo")
    with caplog.at_level(logging.WARNING, "chemprop_hpo"):
        play(told, started(), trial(0), ended(0), over())
    [warning] = [record.getMessage() for record in caplog.records]
    assert "s3://elsewhere" in warning
    assert "NoSuchBucket" in warning


def test_an_experiment_keeps_its_artifacts_where_it_began(uri: str, tmp_path: Path) -> None:
    client = connect(uri)
    first = MlflowConfig(tracking_uri=uri, artifact_location=str(tmp_path / "kept"))
    number = experiment_id(client, first)
    assert client.get_experiment(number).artifact_location == (tmp_path / "kept").as_uri()
    assert experiment_id(client, first) == number
    assert experiment_id(client, MlflowConfig(tracking_uri=uri)) == number
    other = MlflowConfig(tracking_uri=uri, artifact_location="s3://assays/hpo")
    with pytest.raises(TrackingError, match="keeps its artifacts in .*kept, not in s3://assays"):
        experiment_id(client, other)


def test_the_manifest_in_the_bucket_is_whole(uri: str, bucket: Bucket) -> None:
    told = observer(uri, artifact_location=bucket.location)
    play(told, started(), over())
    assert json.loads(bucket.objects()["manifest.json"])["git"] == {
        "commit": "c0ffee",
        "dirty": False,
    }
