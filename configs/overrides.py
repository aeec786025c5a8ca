"""Apply ``key.key=value`` of the command line to the values of a file."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import yaml

from chemprop_hpo.configs.document import parse_value
from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.problems import Loc, dotted, suggestion
from chemprop_hpo.configs.secrets import mask_text

__all__ = ["Overridden", "apply_overrides"]

Overridden = tuple[dict[str, Any], tuple[tuple[str, Loc], ...], list[str]]
"""The new values, each override with the keys that it set, and a line for each refused one."""


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> Overridden:
    """Return a copy of ``values`` with the overrides applied, in their order.

    Parameters
    ----------
    values : dict
        The values of a file.
    overrides : sequence of str
        Such as ``resources.gpus_per_trial=0``; the value is read as YAML.

    Returns
    -------
    Overridden
        An override is refused if it cannot be read, or if it leads nowhere.
    """
    changed, done, refused = deepcopy(values), [], []
    for text in overrides:
        try:
            done.append((text, _apply(changed, text)))
        except ConfigError as error:
            refused += [f"override {mask_text(text)}: {line}" for line in error.problems]
    return changed, tuple(done), refused


def _apply(values: dict[str, Any], text: str) -> Loc:
    parts, value = _parse(text)
    _refuse_new_parameter(values, parts)
    loc: Loc = ()
    here: Any = values
    for part in parts[:-1]:
        loc = (*loc, _key(here, part, loc))
        here = _inside(here, loc[-1])
    last = _key(here, parts[-1], loc)
    here[last] = value
    return (*loc, last)


def _parse(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError("write it as key=value, such as scheduler.max_t=50")
    try:
        return parts, parse_value(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError("its value is not valid YAML; put quotes around it") from None


def _refuse_new_parameter(values: dict[str, Any], parts: list[str]) -> None:
    space = values.get("search_space") or {}
    if parts[0] != "search_space" or len(parts) < 3 or not isinstance(space, dict):
        return
    if parts[1] not in space:
        near = suggestion(parts[1], [str(name) for name in space])
        raise ConfigError(f"search_space.{parts[1]} is not in the file{near}")


def _key(container: Any, part: str, loc: Loc) -> str | int:
    if isinstance(container, dict):
        return part
    if isinstance(container, list):
        if part.isdecimal() and int(part) < len(container):
            return int(part)
        raise ConfigError(f"{dotted(loc)} has items 0 to {len(container) - 1}, no {part!r}")
    raise ConfigError(f"{dotted(loc)} has no keys, so {dotted((*loc, part))} leads nowhere")


def _inside(container: Any, key: str | int) -> Any:
    if isinstance(container, dict) and container.get(key) is None:
        container[key] = {}  # an unknown name among them is found when the whole is validated
    return container[key]
