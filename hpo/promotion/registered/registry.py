"""One registered model of MLflow: its versions, and where its aliases point."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry import RegisteredModel as FoundModel
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

from chemprop_hpo.configs.errors import DataError, TrackingError, UsageError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.promotion.records import ModelRecord
from chemprop_hpo.hpo.promotion.registered.quietness import no_progress_bars
from chemprop_hpo.hpo.promotion.registered.record_files import RECORD, from_json
from chemprop_hpo.hpo.tracking.server import (
    absolute_uri,
    connect,
    copying_patience,
    describe,
    is_away,
    quiet,
    short_patience,
)
from chemprop_hpo.storage.ledger import RegisteredModel

__all__ = ["CANDIDATE", "CHAMPION", "MODEL", "STATUS", "Registry", "Version", "open_registry"]

CANDIDATE, CHAMPION = "candidate", "champion"
MODEL = "model"
"""The artifact of a run that is the MLflow model."""
STATUS = "status"
"""The tag that says what became of a version."""

_MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
_MOST_NAMES = 10


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes
    ----------
    number : str
    run_id : str or None
        The run that it was logged in.
    created : datetime
        In UTC.
    aliases : tuple of str
    tags : mapping of str to str
    """

    number: str
    run_id: str | None
    created: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def open_registry(config: SweepConfig) -> Registry:
    """Open the registered model of a study's configuration; nothing is created.

    Raises
    ------
    UsageError
        If MLflow cannot take the name.
    TrackingError
        If the server cannot be reached or used.
    """
    uri = config.mlflow.tracking_uri
    name = config.promotion.registry or config.study_name
    if set(name) & set("/:\"'"):
        raise UsageError(
            f"MLflow cannot register a model called {name!r}; give it a name without / : and "
            "quotes: promotion.registry=NAME"
        )
    return Registry(connect(uri), uri, name)


class Registry:
    """Reads and writes one registered model.

    Every method raises `TrackingError` where the server cannot be reached or refuses.

    Attributes
    ----------
    client : MlflowClient
    model : RegisteredModel
        As the ledger knows it.
    """

    def __init__(self, client: MlflowClient, uri: str, name: str) -> None:
        self.client = client
        self._uri = uri
        self.model = RegisteredModel(absolute_uri(uri), name)

    @property
    def name(self) -> str:
        """The registered model's."""
        return self.model.name

    # ------------------------------------------------------------------ the model itself

    def exists(self) -> bool:
        """Whether there is a registered model of this name."""
        return self._found() is not None

    def require(self) -> None:
        """Refuse to go on where there is no registered model of this name.

        Raises
        ------
        UsageError
            With the names that there are.
        """
        if self.exists():
            return
        with self.clear_errors():
            found = self.client.search_registered_models(max_results=_MOST_NAMES)
        names = ", ".join(f"'{one.name}'" for one in found) or "none"
        more = ", and more" if len(found) == _MOST_NAMES else ""
        raise UsageError(
            f"there is no registered model '{self.name}' at {mask_url(self._uri)}; there are: "
            f"{names}{more}; name one with promotion.registry=NAME, or register a model with: "
            "chemprop-hpo registry candidate"
        )

    def _found(self) -> FoundModel | None:
        with self.clear_errors():
            try:
                return self.client.get_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None

    # ------------------------------------------------------------------ aliases

    def aliases(self) -> dict[str, str]:
        """Return the version of each alias; none where there is no such model."""
        found = self._found()
        aliases = {} if found is None else dict(found.aliases)
        return {alias: str(version) for alias, version in aliases.items()}

    def alias(self, alias: str) -> str | None:
        """Return the version of an alias, or None if it is not set."""
        return self.aliases().get(alias)

    def set_alias(self, alias: str, version: str | None) -> None:
        """Let an alias point to a version; None takes it away. Only the ledger calls it."""
        with self.clear_errors():
            if version is None:
                self.client.delete_registered_model_alias(self.name, alias)
            else:
                self.client.set_registered_model_alias(self.name, alias, version)

    # ------------------------------------------------------------------ versions

    def versions(self) -> list[Version]:
        """Return all versions, the oldest first."""
        aliases = self.aliases()
        with self.clear_errors():
            found = list(self.client.search_model_versions(f"name = '{self.name}'"))
        versions = [_version(one, aliases) for one in found]
        return sorted(versions, key=lambda version: int(version.number))

    def version(self, number: str) -> Version:
        """Return one version.

        Raises
        ------
        UsageError
            If there is none of that number.
        """
        for version in self.versions():
            if version.number == number:
                return version
        raise UsageError(f"there is no version {number} of the registered model '{self.name}'")

    def add_version(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Register the model that a run has logged, and return its version."""
        with self.clear_errors():
            self._make_model()
            source = RunsArtifactRepository.get_underlying_uri(
                f"runs:/{run_id}/{MODEL}", tracking_uri=absolute_uri(self._uri)
            )
            made = self.client.create_model_version(
                self.name, source, run_id=run_id, tags=dict(tags)
            )
        return str(made.version)

    def metrics(self, version: Version) -> dict[str, float]:
        """Return the metrics of the run that a version was logged in; none where it is gone."""
        if version.run_id is None:
            return {}
        with self.clear_errors():
            try:
                return dict(self.client.get_run(version.run_id).data.metrics)
            except MlflowException as error:
                if error.error_code in _MISSING:
                    return {}
                raise

    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Tag a version."""
        with self.clear_errors():
            for key, value in tags.items():
                self.client.set_model_version_tag(self.name, number, key, value)

    # ------------------------------------------------------------------ what a run has logged

    def record(self, version: Version) -> ModelRecord:
        """Return what is known of a version.

        Raises
        ------
        DataError
            If it was registered by another program, or its run was deleted, and nothing is.
        """
        what = f"version {version.number} of '{self.name}'"
        with self.artifact(version, RECORD) as path:
            if path is None:
                raise DataError(f"{what} has no {RECORD}: {_why_no_record(version)}")
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise DataError(f"{what}: its {RECORD} is damaged ({error})") from error
        return from_json(values, version.number)

    @contextmanager
    def artifact(self, version: Version, name: str) -> Iterator[Path | None]:
        """Fetch an artifact of a version's run while it is needed; None if it is not there."""
        with tempfile.TemporaryDirectory(prefix="chemprop-hpo-registry-") as folder:
            yield self._fetched(version, name, folder)

    def _fetched(self, version: Version, name: str, folder: str) -> Path | None:
        if version.run_id is None:
            return None
        with self.clear_errors(copying=True):
            try:
                there = {one.path for one in self.client.list_artifacts(version.run_id)}
                if name not in there:
                    return None
                uri = f"runs:/{version.run_id}/{name}"
                return Path(
                    download_artifacts(uri, dst_path=folder, tracking_uri=absolute_uri(self._uri))
                )
            except MlflowException as error:
                if error.error_code in _MISSING:
                    return None
                raise

    @contextmanager
    def clear_errors(self, *, copying: bool = False) -> Iterator[None]:
        """Say what the server answers in one line.

        Parameters
        ----------
        copying : bool
            Whether files are copied, for which a server may need longer than for an answer.

        Raises
        ------
        TrackingError
            In place of what MLflow raised.
        """
        with quiet(), copying_patience() if copying else short_patience(), no_progress_bars():
            try:
                yield
            except Exception as error:
                if not _is_of_a_store(error):
                    raise
                where = f"the MLflow registry at {mask_url(self._uri)}"
                raise TrackingError(
                    f"{where} cannot be used: {describe(error)}; {_what_to_do(error)}"
                ) from error

    def _make_model(self) -> None:
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _is_of_a_store(error: Exception) -> bool:
    """Whether MLflow, or the bucket or folder where it keeps artifacts, has refused."""
    made_by = type(error).__module__.partition(".")[0]
    stores = {"botocore", "boto3", "s3transfer"}  # an extra, which need not be installed
    return isinstance(error, MlflowException | OSError | ImportError) or made_by in stores


def _what_to_do(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "for a bucket install: pip install 'chemprop-hpo[s3]'"
    # What a server answers to a file comes as it is; what else it answers, as MLflow's own error.
    answer = getattr(error, "response", None)
    if is_away(error) or getattr(answer, "status_code", 0) >= 500:
        return "start the server, or try again when it answers"
    return "correct mlflow.tracking_uri, or get leave to read and write there"


def _why_no_record(version: Version) -> str:
    if "chemprop_hpo.predictor" in version.tags:
        why = "its MLflow run, or what the run has kept, was deleted"
    else:
        why = "another program registered it"
    if CHAMPION in version.aliases:
        advice = f"take the alias '{CHAMPION}' away in MLflow, then: chemprop-hpo registry adopt"
    else:
        advice = "register one with: chemprop-hpo registry candidate"
    return f"{why}, and nothing is known of its figures; {advice}"


def _version(found: ModelVersion, aliases: Mapping[str, str]) -> Version:
    number = str(found.version)
    return Version(
        number=number,
        run_id=found.run_id or None,
        created=datetime.fromtimestamp(int(found.creation_timestamp) / 1000, UTC),
        aliases=tuple(sorted(a for a, version in aliases.items() if version == number)),
        tags=_texts(found.tags),
    )


def _texts(tags: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in dict(tags).items()}
