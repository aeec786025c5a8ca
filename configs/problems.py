"""One thing that is wrong with a configuration, and the place where to put it right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chemprop_hpo.configs.secrets import mask_text

__all__ = ["Loc", "Problem", "Source", "dotted", "overlaps", "shown", "suggestion"]

Loc = tuple[str | int, ...]
"""Keys from the top of the file to a value."""

_LONGEST = 60
_LONG_NUMBER = 1e9


@dataclass(frozen=True)
class Problem:
    """What is wrong with the value at ``loc``.

    Attributes
    ----------
    loc : tuple
        The keys that lead to it.
    text : str
        A predicate that follows the path of keys: ``is unknown; did you mean depth?``.
    about : tuple of Loc
        Other values that take part in it.
    line : int, optional
        Its line, where ``loc`` does not say enough.
    """

    loc: Loc
    text: str
    about: tuple[Loc, ...] = ()
    line: int | None = None


@dataclass(frozen=True)
class Source:
    """Where values came from: a file with its lines, and overrides of the command line."""

    name: str
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overrides: tuple[tuple[str, Loc], ...] = ()
    """Each override as it was written, and the keys that it sets."""

    def describe(self, problems: Iterable[Problem]) -> list[str]:
        """Return one line a problem, in the order of the file, overrides last."""
        unique = dict.fromkeys(problems)
        ordered = sorted(unique, key=lambda problem: self._rank(problem))
        return list(dict.fromkeys(f"{self._place(p)}: {_sentence(p)}" for p in ordered))

    def _place(self, problem: Problem) -> str:
        override = self._override(problem)
        if override is not None:
            return f"override {mask_text(override)}"
        line = self._line(problem)
        return self.name if line is None else f"{self.name}:{line}"

    def _override(self, problem: Problem) -> str | None:
        for text, loc in reversed(self.overrides):
            if any(overlaps(loc, other) for other in (problem.loc, *problem.about) if other):
                return text
        return None

    def _line(self, problem: Problem) -> int | None:
        if problem.line is not None:
            return problem.line
        lines = (self._nearest_line(loc) for loc in (problem.loc, *problem.about))
        return next((line for line in lines if line is not None), None)

    def _nearest_line(self, loc: Loc) -> int | None:
        keys = tuple(map(str, loc))
        ancestors = (keys[:end] for end in range(len(keys), 0, -1))
        return next((self.lines[keys] for keys in ancestors if keys in self.lines), None)

    def _rank(self, problem: Problem) -> tuple[bool, int]:
        return self._override(problem) is not None, self._line(problem) or 0


def _sentence(problem: Problem) -> str:
    return f"{dotted(problem.loc)} {problem.text}" if problem.loc else problem.text


def dotted(loc: Loc) -> str:
    """Return the path of keys as it is written in an override."""
    return ".".join(str(part) for part in loc)


def overlaps(one: Loc, other: Loc) -> bool:
    """Whether one of the two values lies in the other, or is the same."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?``, or else the known names."""
    names = list(known)
    near = _nearest(name, names)
    if near is not None:
        return f"; did you mean {near}?"
    return f"; known are {', '.join(names)}" if names else ""


def _nearest(name: str, names: list[str]) -> str | None:
    for known in names:  # letters in another order or case are the likeliest slip
        if sorted(known.lower()) == sorted(name.lower()):
            return known
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.65)), None)


def shown(value: Any) -> str:
    """Return a value as a person would write it: short, and without passwords."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, float) and value.is_integer() and abs(value) < _LONG_NUMBER:
        return str(int(value))
    text = repr(mask_text(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
