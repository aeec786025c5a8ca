"""Say what pydantic found in words of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from chemprop_hpo.configs.parameters import Choice, Fixed, IntRange, LogUniform, Uniform
from chemprop_hpo.configs.problems import Loc, Problem, shown, suggestion
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.section import Section, plain_types

__all__ = ["problems_of"]

_KINDS: dict[str, type[Section]] = {
    "uniform": Uniform,
    "loguniform": LogUniform,
    "randint": IntRange,
    "choice": Choice,
    "fixed": Fixed,
}
_NOUNS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a section with keys",
    "model_attributes": "a section with keys",
    "path": "a path",
}
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def problems_of(error: ValidationError, values: Any, model: type[BaseModel]) -> list[Problem]:
    """Return one problem a place.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    values : dict
        The values as they were written, with references unresolved: they are what is shown.
    model : type
        The model that was validated; it knows the keys.
    """
    found: dict[Loc, list[_Finding]] = {}
    for item in error.errors(include_url=False):
        finding = _Finding(item, values, model)
        found.setdefault(finding.loc, []).append(finding)
    return [
        Problem(loc, _together(findings))
        for loc, findings in found.items()
        if not _explained_deeper(loc, findings, found)
    ]


class _Finding:
    """One error of pydantic, at its place in the file."""

    def __init__(self, item: Any, values: Any, model: type[BaseModel]) -> None:
        self.kind: str = item["type"]
        self.context: dict[str, Any] = item.get("ctx", {})
        self.tags: Loc = item["loc"]
        self.loc, self.of_a_union = _real_loc(item["loc"], values, self.kind)
        self.message: str = item["msg"]
        self.model = model
        self.value = _written(values, self.loc, item["input"])

    @property
    def noun(self) -> str | None:
        stem = re.sub(r"_(type|parsing|from_float|parsing_size)$", "", self.kind)
        return _NOUNS.get(stem) if stem != self.kind else None


def _real_loc(loc: Loc, values: Any, kind: str) -> tuple[Loc, bool]:
    """Leave out of ``loc`` what only names the member of a union."""
    real: list[str | int] = []
    here, of_a_union = values, False
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if _holds(here, part):
            real.append(part)
            here = here[part]
        elif last and kind in ("missing", "extra_forbidden") and isinstance(here, dict):
            real.append(part)
        else:
            of_a_union = last
    return tuple(real), of_a_union


def _holds(container: Any, part: str | int) -> bool:
    if isinstance(container, dict):
        return part in container
    return isinstance(container, list) and isinstance(part, int) and part < len(container)


def _written(values: Any, loc: Loc, otherwise: Any) -> Any:
    for part in loc:
        if not _holds(values, part):
            return otherwise
        values = values[part]
    return values


def _explained_deeper(loc: Loc, findings: list[_Finding], found: Iterable[Loc]) -> bool:
    """Whether a union of a list and a mapping says more about the one that was written."""
    deeper = any(len(other) > len(loc) and other[: len(loc)] == loc for other in found)
    return deeper and all(finding.of_a_union for finding in findings)


def _together(findings: list[_Finding]) -> str:
    first = findings[0]
    nouns = list(dict.fromkeys(finding.noun for finding in findings if finding.noun))
    if len(nouns) > 1:
        if "text" in nouns:  # any hyperparameter's value
            nouns = ["a number", "text", "true or false"]
        return f"must be {', '.join(nouns[:-1])} or {nouns[-1]}, not {shown(first.value)}"
    return _text(first)


def _text(finding: _Finding) -> str:
    if finding.noun:
        hint = "; write it in quotes" if finding.noun == "text" and _scalar(finding.value) else ""
        return f"must be {finding.noun}, not {shown(finding.value)}{hint}"
    if finding.kind in _LIMITS:
        word, key = _LIMITS[finding.kind]
        return f"must be {word} {finding.context[key]:g}, not {shown(finding.value)}"
    special = _SPECIAL.get(finding.kind)
    return special(finding) if special else _plain(finding)


def _scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, dict | list)


def _unknown(finding: _Finding) -> str:
    name = str(finding.loc[-1])
    elsewhere = [
        f"{section}.{name}"
        for section, model in _sections().items()
        if finding.model is SweepConfig and name in model.model_fields
    ]
    known = list(_known_keys(finding))
    if name not in known and len(elsewhere) == 1:
        return f"is unknown; did you mean {elsewhere[0]}?"
    return f"is unknown{suggestion(name, known)}"


def _known_keys(finding: _Finding) -> Iterable[str]:
    parent = finding.loc[:-1]
    if not parent or finding.model is not SweepConfig:
        return finding.model.model_fields
    if parent[0] == "search_space":
        return _KINDS[str(finding.tags[2])].model_fields
    return _sections()[str(parent[0])].model_fields


def _sections() -> dict[str, type[Section]]:
    kinds = {
        name: next(iter(plain_types(field.annotation)), None)
        for name, field in SweepConfig.model_fields.items()
    }
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, Section)
    }


def _no_choice(finding: _Finding) -> str:
    known = re.findall(r"'([^']*)'", str(finding.context.get("expected", "")))
    return f"is {shown(finding.value)}{_choices(finding.value, known)}"


def _no_kind(finding: _Finding) -> str:
    if not isinstance(finding.value, dict):
        return f"must be a section with keys, not {shown(finding.value)}"
    if finding.kind == "union_tag_not_found":
        return f"has no type; write one of {', '.join(_KINDS)}"
    kind = finding.value.get("type")
    return f"has type {shown(kind)}{_choices(kind, _KINDS)}"


def _choices(value: Any, known: Iterable[str]) -> str:
    names = list(known)
    near = suggestion(str(value), names)
    return near if "did you mean" in near else f"; write one of {', '.join(names)}"


def _plain(finding: _Finding) -> str:
    return f"is wrong: {finding.message[:1].lower()}{finding.message[1:]}"


_SPECIAL: dict[str, Callable[[_Finding], str]] = {
    "missing": lambda finding: "is missing",
    "extra_forbidden": _unknown,
    "literal_error": _no_choice,
    "union_tag_invalid": _no_kind,
    "union_tag_not_found": _no_kind,
    "value_error": lambda finding: str(finding.context["error"]),
    "too_short": lambda finding: "is empty; write at least one",
    "finite_number": lambda finding: f"must be a finite number, not {shown(finding.value)}",
    "invalid_key": lambda finding: "is a key that is no text; write it in quotes",
}
