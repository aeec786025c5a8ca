"""The JSON Schema of a sweep's file, with which an editor completes and checks it."""

from __future__ import annotations

from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.space import hyperparameters

__all__ = ["sweep_json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}
_KINDS = ("Uniform", "LogUniform", "IntRange", "Choice", "Fixed")


def sweep_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a sweep's YAML file.

    It knows keys, types and ranges of single values; ``load_sweep`` also knows the rules
    between them.
    """
    schema = _in_json_words(SweepConfig.model_json_schema())
    definitions = schema["$defs"]
    for kind in _KINDS:
        _name_the_type(definitions[kind])
    properties = schema["properties"]
    definitions["Parameter"] = properties["search_space"].pop("additionalProperties")
    properties["search_space"] |= _named_parameters(definitions)
    properties["enqueue"]["items"]["propertyNames"] = {"enum": sorted(hyperparameters())}
    return {"$schema": _DIALECT, **schema, "title": "A sweep of chemprop-hpo"}


def _in_json_words(node: Any) -> Any:
    """Rename limits that pydantic leaves in its own words where a number has a validator."""
    if isinstance(node, list):
        return [_in_json_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    limits = {key for key in _LIMITS if isinstance(node.get(key), int | float)}
    return {
        _LIMITS[key] if key in limits else key: _in_json_words(value) for key, value in node.items()
    }


def _name_the_type(kind: dict[str, Any]) -> None:
    """Demand ``type``, which tells the kinds apart, and allow ``q`` for ``step``."""
    kind["required"] = ["type", *kind.get("required", [])]
    if "step" in kind["properties"]:
        kind["properties"]["q"] = dict(kind["properties"]["step"], description="The same as step.")


def _named_parameters(definitions: dict[str, Any]) -> dict[str, Any]:
    named = {
        name: {
            "$ref": "#/$defs/Parameter",
            "description": definitions[section.__name__]["properties"][name]["description"],
        }
        for name, section in hyperparameters().items()
    }
    return {"properties": named, "additionalProperties": False}
