"""Resolve ``${oc.env:VARIABLE}`` and ``${other.key}``, and name each that cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationKeyError, OmegaConfBaseException

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.problems import Loc, Problem

__all__ = ["escaped", "keep_references", "resolve_references", "resolve_text"]

_UNSET = re.compile(r"Environment variable '(?P<name>.*?)' not found")
_ALIASES = {"q": "step"}


def resolve_references(values: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return a copy of ``values`` with references resolved, and those that cannot be.

    A reference that cannot be resolved stays as it is written.
    """
    resolved = deepcopy(values)
    broken = [problem for loc, text in _references(values) for problem in _grammar(loc, text)]
    for problem in broken:
        _put(resolved, problem.loc, None)
    tree = OmegaConf.create(resolved, flags={"allow_objects": True})
    for loc, text in _references(resolved):
        try:
            _put(resolved, loc, _get(tree, loc))
        except OmegaConfBaseException as error:
            broken.append(Problem(loc, _wording(error, text)))
    for problem in broken:
        _put(resolved, problem.loc, _find(values, problem.loc))
    return resolved, broken


def resolve_text(name: str, text: str) -> str:
    """Return a single text with its references resolved.

    Parameters
    ----------
    name : str
        What the text is called in a message.
    text : str
        Such as ``postgresql://me:${oc.env:PGPASSWORD}@host/db``.

    Raises
    ------
    ConfigError
        If a reference cannot be resolved.
    """
    values, broken = resolve_references({name: text})
    if broken:
        raise ConfigError(*(f"{name} {problem.text}" for problem in broken))
    return str(values[name])


def keep_references(dumped: Any, written: Any) -> Any:
    """Return ``dumped`` with each reference put back as it was written."""
    if isinstance(written, str) and "${" in written:
        return written
    if isinstance(dumped, dict) and isinstance(written, dict):
        names = {_ALIASES.get(key, key) if key not in dumped else key: key for key in written}
        return {
            key: keep_references(value, written[names[key]]) if key in names else value
            for key, value in dumped.items()
        }
    if isinstance(dumped, list) and isinstance(written, list) and len(dumped) == len(written):
        return [keep_references(*pair) for pair in zip(dumped, written, strict=True)]
    return dumped


def escaped(value: Any) -> Any:
    """Return ``value`` written so that it is read as it is, though it may hold ``${``."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


def _references(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, str) and "${" in value:
        yield loc, value
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            yield from _references(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, (*loc, index))


def _grammar(loc: Loc, text: str) -> list[Problem]:
    try:
        OmegaConf.create({"value": text})
    except GrammarParseError:
        return [Problem(loc, "cannot be read; write a reference as ${oc.env:NAME}")]
    return []


def _wording(error: OmegaConfBaseException, text: str) -> str:
    message = str(error).splitlines()[0]
    unset = _UNSET.search(message)
    if unset:
        return f"needs the environment variable {unset['name']}, which is not set"
    if isinstance(error, InterpolationKeyError):
        return f"refers to {message.split(chr(39))[1]}, which is not in the file"
    return f"cannot be resolved: {message}"


def _get(tree: Any, loc: Loc) -> Any:
    for part in loc:
        tree = tree[part]
    return OmegaConf.to_container(tree, resolve=True) if OmegaConf.is_config(tree) else tree


def _find(values: Any, loc: Loc) -> Any:
    for part in loc:
        values = values[part]
    return values


def _put(values: Any, loc: Loc, value: Any) -> None:
    _find(values, loc[:-1])[loc[-1]] = value
