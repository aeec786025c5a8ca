"""Make what the services of docker-compose.yml stand on: databases, their owners, the bucket.

It may run any number of times: what is there stays, and passwords become those of today's .env.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import boto3
import psycopg
from psycopg import sql
from sqlalchemy import make_url

from chemprop_hpo.storage.database import open_database

OWNERS = {"chemprop_hpo": "STUDIES_PASSWORD", "mlflow": "MLFLOW_PASSWORD"}
DATABASES = {"studies": "chemprop_hpo", "ledger": "chemprop_hpo", "mlflow": "mlflow"}


def main() -> None:
    """Make all of it, and say what there is."""
    url = os.environ["POSTGRES_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        for role, variable in OWNERS.items():
            make_role(server, role, os.environ[variable])
        for database, owner in DATABASES.items():
            make_database(server, database, owner)
    make_tables(url, os.environ["STUDIES_PASSWORD"])
    make_bucket(os.environ["S3_URL"], os.environ["S3_BUCKET"])
    print(f"databases {', '.join(DATABASES)} and bucket {os.environ['S3_BUCKET']} are ready")


def make_role(server: psycopg.Connection[Any], role: str, password: str) -> None:
    """Make a user of the server, or give the one that is there the password."""
    name = sql.Identifier(role)
    with suppress(psycopg.errors.DuplicateObject):
        server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    server.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(password)))


def make_database(server: psycopg.Connection[Any], database: str, owner: str) -> None:
    """Make a database that its owner alone may enter, unless it is there."""
    name, who = sql.Identifier(database), sql.Identifier(owner)
    with suppress(psycopg.errors.DuplicateDatabase):
        server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, who))
    server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def make_tables(url: str, password: str) -> None:
    """Make the tables of studies, so that the dashboard has something to show at once."""
    theirs = make_url(url).set(username="chemprop_hpo", password=password, database="studies")
    open_database(theirs.render_as_string(hide_password=False)).close()


def make_bucket(url: str, bucket: str) -> None:
    """Make the bucket of MLflow's artifacts, unless it is there."""
    s3 = boto3.client("s3", endpoint_url=url)
    names = [found["Name"] for found in s3.list_buckets()["Buckets"]]
    if bucket not in names:
        s3.create_bucket(Bucket=bucket)


if __name__ == "__main__":
    main()
