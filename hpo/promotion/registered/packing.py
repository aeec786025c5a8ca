"""Pack a predictor's folder as an MLflow model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow.pyfunc
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, DataType, Schema

from chemprop_hpo import __version__
from chemprop_hpo.hpo.predictor.frames import column_names
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.predictor.manifest import Manifest
from chemprop_hpo.hpo.promotion.registered import served_model
from chemprop_hpo.hpo.promotion.registered.quietness import no_progress_bars
from chemprop_hpo.hpo.tracking.server import quiet

__all__ = ["pack"]

_TEXT, _FLAGS = {"error"}, {"valid", "far"}
_ALWAYS = {"valid", "error"}


def pack(predictor: Path, folder: Path) -> None:
    """Write an MLflow model of a predictor, with a copy of it inside.

    Parameters
    ----------
    predictor : Path
        A folder with a ``manifest.json``.
    folder : Path
        Where to write; must not exist.

    Raises
    ------
    PredictorError
        If ``predictor`` is none.
    """
    manifest = load_manifest(predictor)
    with _quiet_mlflow():
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=str(Path(served_model.__file__)),
            artifacts={served_model.PREDICTOR: str(predictor.absolute())},
            signature=ModelSignature(inputs=_inputs(), outputs=_outputs(manifest)),
            # Given, so that MLflow neither loads the model to look what it imports, nor asks pip.
            pip_requirements=[f"chemprop-hpo=={__version__}"],
            metadata={"study": manifest.study, "created": manifest.created},
        )


def _inputs() -> Schema:
    return Schema([ColSpec(DataType.string, "smiles")])


def _outputs(manifest: Manifest) -> Schema:
    names = column_names([target.name for target in manifest.targets], manifest.task)
    return Schema([ColSpec(_type_of(name), name, required=name in _ALWAYS) for name in names])


def _type_of(name: str) -> DataType:
    if name in _TEXT:
        return DataType.string
    return DataType.boolean if name in _FLAGS else DataType.double


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Keep MLflow from advising its own users, who write models and not folders."""
    with quiet(), no_progress_bars(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*input example was not provided")
        yield
