"""Keep files with a run, and let nothing else suffer where they cannot be kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.tracking.runs import TAG, Runs
from chemprop_hpo.hpo.tracking.server import describe, is_away

__all__ = ["Shelf"]

_log = logging.getLogger(__name__)

Content = str | bytes | Path
"""A text, what stands in a file, or a file on this machine."""


class Shelf:
    """Artifacts of an experiment's runs.

    A bucket that refuses a file, or is not there, costs one warning: metrics do not wait behind
    it. What could not be kept is tried once more by `again`; a bucket that cannot be reached is
    left alone until then, since each try may take a minute.

    Parameters
    ----------
    runs : Runs
        Whose artifacts.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._unkept: dict[tuple[str, str], tuple[Run, Mapping[str, Content]]] = {}
        self._told: set[str] = set()
        self._unreachable: set[str] = set()

    @property
    def unkept(self) -> int:
        """How many files could not be kept so far."""
        return sum(len(files) for _, files in self._unkept.values())

    def keep(self, run: Run, bundle: str, files: Mapping[str, Content]) -> int:
        """Keep files that belong together, unless the run has them just so.

        Parameters
        ----------
        run : Run
            As it was read: its tags say what it has.
        bundle : str
            What the files are called together.
        files : mapping of str to str, bytes or Path
            By their names below the run's own folder, with slashes.

        Returns
        -------
        int
            How many were stored by this call.
        """
        tag = f"{TAG}.kept.{bundle}"
        if _place(str(run.info.artifact_uri)) in self._unreachable:
            self._unkept[run.info.run_id, bundle] = run, files
            return 0
        try:
            digest = _digest(files)
            if run.data.tags.get(tag) == digest:
                return 0
            for name, content in files.items():
                self._store(run.info.run_id, name, content)
            self._runs.set_tags(run.info.run_id, {tag: digest})
        except Exception as error:  # each kind of store has errors of its own
            if is_away(error) and not self._answers(run):
                raise
            self._tell(run, error)
            if _is_unreachable(error):
                self._unreachable.add(_place(str(run.info.artifact_uri)))
            self._unkept[run.info.run_id, bundle] = run, files
            return 0
        self._unkept.pop((run.info.run_id, bundle), None)
        return len(files)

    def again(self) -> None:
        """Try once more to keep what could not be kept."""
        self._unreachable.clear()
        for (_, bundle), (run, files) in list(self._unkept.items()):
            self.keep(run, bundle, files)

    def _answers(self, run: Run) -> bool:
        """Whether runs can be logged, so that only artifacts cannot: their bucket is behind it."""
        try:
            self._runs.get(run.info.run_id)
        except MlflowException:
            return False
        return True

    def _store(self, run_id: str, name: str, content: Content) -> None:
        if isinstance(content, str):
            self._runs.client.log_text(run_id, content, name)
            return
        if isinstance(content, bytes):
            with TemporaryDirectory() as place:
                file = Path(place, PurePosixPath(name).name)
                file.write_bytes(content)
                self._store(run_id, name, file)
            return
        folder = str(PurePosixPath(name).parent)
        self._runs.client.log_artifact(run_id, str(content), None if folder == "." else folder)

    def _tell(self, run: Run, error: Exception) -> None:
        place = _place(str(run.info.artifact_uri))
        level = logging.DEBUG if place in self._told else logging.WARNING
        self._told.add(place)
        _log.log(
            level,
            "artifacts cannot be stored in %s (%s); runs and metrics are logged without them; "
            "once that is put right, chemprop-hpo track adds them",
            place,
            describe(error),
        )


def _is_unreachable(error: BaseException) -> bool:
    """Whether a store did not even answer; botocore's errors are none of Python's own."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"ConnectionError", "TimeoutError", "HTTPClientError"})


def _digest(files: Mapping[str, Content]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        data = content.encode() if isinstance(content, str) else content
        data = data.read_bytes() if isinstance(data, Path) else data
        digest.update(f"{name}\n{len(data)}\n".encode() + data)
    return digest.hexdigest()


def _place(uri: str) -> str:
    """Return the bucket, or the folder, without what belongs to one run."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        return str(Path(parts.path).parent.parent)
    return mask_url(f"{parts.scheme}://{parts.netloc}")
