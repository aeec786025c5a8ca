"""Open an MLflow tracking store, or say in one line why it cannot be opened."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow.utils.logging_utils
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from chemprop_hpo.configs.errors import TrackingError
from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.configs.secrets import mask_text, mask_url

__all__ = [
    "absolute_uri",
    "answers",
    "artifact_location",
    "as_tracking_error",
    "check_reachable",
    "connect",
    "copying_patience",
    "describe",
    "experiment_id",
    "is_away",
    "quiet",
    "quietly",
    "short_patience",
]

_OTHERWISE = "set mlflow.tracking_uri=sqlite:///mlflow.db, or mlflow.tracking=false"

# By default MLflow's client tries for minutes, and prints a link for every run that ends.
_SHORT_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A bucket that is away must not hold up what goes elsewhere.
    "AWS_MAX_ATTEMPTS": "2",
}

# A server that passes files on to a bucket answers when the whole file is there.
_COPYING_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "300",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def connect(uri: str) -> MlflowClient:
    """Return a client of the store at ``uri``; a database is created or checked first.

    MLflow's global tracking URI is neither read nor set.

    Raises
    ------
    TrackingError
        When the store cannot be reached, opened or used.
    """
    check_reachable(uri)
    with quiet(), as_tracking_error(uri), _one_at_a_time(uri):
        return MlflowClient(tracking_uri=absolute_uri(uri))


def check_reachable(uri: str) -> None:
    """Check within about ten seconds that runs can be logged to ``uri``; create nothing.

    Raises
    ------
    TrackingError
        With what to do about it, and any password masked.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    with quiet(), short_patience(), as_tracking_error(uri):
        if scheme in {"http", "https"}:
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
        elif scheme == "sqlite":
            _check_sqlite(uri)
        elif scheme in {"postgresql", "mysql", "mssql"}:
            _check_database(uri, {"connect_timeout": 5} if scheme == "postgresql" else {})
        elif scheme == "file" or (scheme == "" and uri != "databricks"):
            raise TrackingError(f"{uri}: MLflow keeps runs in folders no longer; {_OTHERWISE}")
        else:
            MlflowClient(tracking_uri=uri)


def experiment_id(client: MlflowClient, config: MlflowConfig) -> str:
    """Return the id of the configured experiment, which is created if there is none.

    Raises
    ------
    TrackingError
        When the experiment was deleted, keeps its artifacts elsewhere than configured, or the
        store refuses the name.
    """
    uri, name = config.tracking_uri, config.experiment_name
    with quiet(), as_tracking_error(uri):
        found = client.get_experiment_by_name(name) or _created(client, config)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment '{name}' in {mask_url(uri)} is deleted; set another "
            "mlflow.experiment_name, or restore it with: "
            f"mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    _refuse_other_place(found, config)
    return str(found.experiment_id)


def artifact_location(uri: str, experiment: str) -> str | None:
    """Return where artifacts go: beside an SQLite file, or None for the server's own choice."""
    path = _sqlite_path(uri)
    if path is None:
        return None
    folder = "".join(c if c.isalnum() or c in "-_." else "_" for c in experiment).strip(".")
    return (path.parent / "mlruns" / (folder or "_")).as_uri()


def absolute_uri(uri: str) -> str:
    """Return ``uri`` with the file of an SQLite URL written as an absolute path."""
    path = _sqlite_path(uri)
    if path is None:
        return uri
    return make_url(uri).set(database=str(path)).render_as_string(hide_password=False)


def is_away(error: Exception) -> bool:
    """Whether a call failed because the store is away, so that it may succeed later."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]  # MLflow's own
        return bool(status >= 500 or status in {408, 429})
    return isinstance(error, ConnectionError | TimeoutError)


def answers(client: MlflowClient) -> bool:
    """Whether the store answers a simple question."""
    try:
        client.search_experiments(max_results=1)
    except (MlflowException, OSError):
        return False
    return True


def describe(error: BaseException) -> str:
    """Return the first line of an error, short and with passwords masked."""
    lines = mask_text(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 300 else f"{lines[0][:300]}..."


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's own log lines of this thread off the terminal."""
    with mlflow.utils.logging_utils.suppress_logs_in_thread():
        yield


def quietly(call: Callable[..., object], *arguments: Any) -> None:
    """Call something with `quiet`."""
    with quiet():
        call(*arguments)


@contextmanager
def short_patience() -> Iterator[None]:
    """Let MLflow's HTTP client give up after seconds, unless the user chose otherwise."""
    with _unless_chosen(_SHORT_PATIENCE):
        yield


@contextmanager
def copying_patience() -> Iterator[None]:
    """Let MLflow's HTTP client wait minutes for a file, unless the user chose otherwise."""
    with _unless_chosen(_COPYING_PATIENCE):
        yield


@contextmanager
def _unless_chosen(variables: Mapping[str, str]) -> Iterator[None]:
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _created(client: MlflowClient, config: MlflowConfig) -> Experiment:
    uri, name = config.tracking_uri, config.experiment_name
    location = _wanted_place(config) or artifact_location(uri, name)
    # Where another driver was quicker, its experiment is the one.
    with suppress(MlflowException):
        client.create_experiment(name, artifact_location=location)
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingError(
            f"the MLflow experiment '{name}' cannot be created in {mask_url(uri)}; "
            "set another mlflow.experiment_name"
        )
    return found


def _refuse_other_place(found: Experiment, config: MlflowConfig) -> None:
    """MLflow settles where artifacts go when an experiment is created, and never moves them."""
    wanted, there = _wanted_place(config), str(found.artifact_location)
    if wanted is not None and wanted.rstrip("/") != there.rstrip("/"):
        raise TrackingError(
            f"the MLflow experiment '{found.name}' keeps its artifacts in {mask_url(there)}, not "
            f"in {mask_url(wanted)}; set another mlflow.experiment_name, or leave out "
            "mlflow.artifact_location"
        )


def _wanted_place(config: MlflowConfig) -> str | None:
    place = config.artifact_location
    if place is None or urlsplit(place).scheme:
        return place
    return Path(place).resolve().as_uri()


def _check_sqlite(uri: str) -> None:
    path = _sqlite_path(uri)
    if path is None:
        raise TrackingError(f"{uri}: a database in memory keeps no runs; {_OTHERWISE}")
    place = path if path.exists() else next(p for p in path.parents if p.exists())
    if path.is_dir() or not os.access(place, os.W_OK):
        raise TrackingError(f"cannot write the MLflow database {path}; {_OTHERWISE}")
    if place == path:
        _check_database(absolute_uri(uri), {"timeout": 10})


def _check_database(uri: str, arguments: dict[str, int]) -> None:
    # MLflow would try ten times, for minutes, to open what is no database.
    engine = sqlalchemy.create_engine(uri, connect_args=arguments)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def _sqlite_path(uri: str) -> Path | None:
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        return None
    database = make_url(uri).database
    return None if not database or database == ":memory:" else Path(database).resolve()


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Hold the folder of an SQLite file: two drivers that both create its tables would collide."""
    path = _sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def as_tracking_error(uri: str) -> Iterator[None]:
    """Turn what goes wrong with the store at ``uri`` into one line."""
    try:
        yield
    except MlflowException as error:
        raise TrackingError(_unreachable(uri, error)) from None
    except (SQLAlchemyError, ArgumentError, ImportError, OSError) as error:
        reason = describe(error)
        raise TrackingError(
            f"cannot open the MLflow store {mask_url(uri)}: {reason}; {_OTHERWISE}"
        ) from None


def _unreachable(uri: str, error: MlflowException) -> str:
    shown = mask_url(uri)
    if urlsplit(uri).scheme not in {"http", "https"}:
        return f"cannot use the MLflow store {shown}: {describe(error)}; {_OTHERWISE}"
    if is_away(error):
        address = urlsplit(uri)
        start = f"mlflow server --host {address.hostname} --port {address.port or 5000}"
        return f"cannot reach the MLflow server at {shown}; start it with: {start}, or {_OTHERWISE}"
    return f"the MLflow server at {shown} refuses: {describe(error)}; {_OTHERWISE}"
