"""From the configuration that a study keeps to the one with which it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.interpolation import escaped
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.configs.secrets import has_masked, mask_text, mask_url

__all__ = ["load_resumed"]

_GIVEN_OTHERWISE = {
    "study.name": "a study keeps its name; --study says which one is meant",
    "study.storage": "--storage says where the study is",
    "num_samples": "--num-samples says it already",
}


def load_resumed(
    stored: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    name: str,
    storage: str,
    num_samples: int | None = None,
) -> LoadedSweep:
    """Check the configuration that a study keeps, to go on with it where it is now.

    Parameters
    ----------
    stored : Mapping
        As the study keeps it.
    overrides : sequence of str
        Such as ``data.file=/elsewhere/esol.csv``.
    name, storage : str
        The study's name and the URL it was opened with, password included. What is stored
        about both is not needed, nor the variable that its password once came from.
    num_samples : int, optional
        The study's new total.

    Raises
    ------
    ConfigError
        With one line for each problem.
    """
    _refuse_given_otherwise(overrides, num_samples)
    total = [] if num_samples is None else [f"num_samples={num_samples}"]
    loaded = load_stored(_at(stored, name, storage), [*overrides, *total])
    _refuse_masked_tracking(loaded)
    written = str((stored.get("study") or {}).get("storage", ""))
    kept = {**loaded.stored["study"], "name": name, "storage": _kept(written, storage)}
    return LoadedSweep(loaded.config, {**loaded.stored, "study": kept})


def _refuse_given_otherwise(overrides: Sequence[str], num_samples: int | None) -> None:
    refused = {key for key in _GIVEN_OTHERWISE if key != "num_samples" or num_samples is not None}
    problems = [
        f"override {mask_text(text)}: {_GIVEN_OTHERWISE[key]}"
        for text in overrides
        if (key := text.partition("=")[0].strip()) in refused
    ]
    if problems:
        raise ConfigError(*problems)


def _at(stored: Mapping[str, Any], name: str, storage: str) -> dict[str, Any]:
    section = stored.get("study") or {}
    return {**stored, "study": {**section, "name": escaped(name), "storage": escaped(storage)}}


def _kept(written: str, storage: str) -> str:
    """Return what the study keeps of the URL: a reference to the environment stays as it is."""
    return written if "${" in written else mask_url(storage)


def _refuse_masked_tracking(loaded: LoadedSweep) -> None:
    mlflow = loaded.config.mlflow
    if mlflow.tracking and has_masked(mlflow.tracking_uri):
        raise ConfigError(
            f"mlflow.tracking_uri is {mlflow.tracking_uri}: its password was left out when the "
            "study was stored; give it again, mlflow.tracking_uri=URL, or mlflow.tracking=false"
        )
