"""Read one YAML file: its values, and the line of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.problems import Problem

__all__ = ["Document", "parse_value", "read_document", "write_document"]

_EXPONENT = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+")
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Reads 1e-5 as a number: PyYAML alone would want a dot and a sign, 1.0e-5."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would read as a number."""


_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


@dataclass(frozen=True)
class Document:
    """The values of a file, their lines, and keys that are given twice."""

    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]
    problems: tuple[Problem, ...]


def read_document(path: Path) -> Document:
    """Read a YAML file that holds one mapping.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is no YAML, or holds something else.
    """
    text = _read_text(path)
    try:
        return _parse(text, path)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_marked(error, path)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_first_line(error)}") from None


def parse_value(text: str) -> Any:
    """Return the value that ``text`` would have in a file; raises ``yaml.YAMLError``."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def write_document(values: dict[str, Any]) -> str:
    """Return ``values`` as the text of a YAML file, in their own order."""
    text: str = yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    return text


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder; name a YAML file in it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(text: str, path: Path) -> Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(f"{path}: is empty; a sweep needs at least data")
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path}:{_line(node)}: must hold keys with values, such as data:")
        places = _Places()
        places.walk(node, ())
        return Document(loader.construct_document(node), places.lines, tuple(places.problems))
    finally:
        loader.dispose()


class _Places:
    """Walks over the nodes of a file and notes the line of each value."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def walk(self, node: yaml.Node, loc: tuple[str, ...]) -> None:
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(problem="a value holds itself", problem_mark=node.start_mark)
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, loc)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._note(item, item, (*loc, str(index)))
        self._open.discard(id(node))

    def _walk_mapping(self, node: yaml.MappingNode, loc: tuple[str, ...]) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                first = f"is given twice; first on line {seen[key.value]}"
                self.problems.append(Problem((*loc, key.value), first, line=_line(key)))
            seen.setdefault(key.value, _line(key))
            self._note(key, value, (*loc, key.value))

    def _note(self, key: yaml.Node, value: yaml.Node, loc: tuple[str, ...]) -> None:
        self.lines[loc] = _line(key)
        self.walk(value, loc)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _marked(error: yaml.MarkedYAMLError, path: Path) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    parts = [part for part in (error.context, error.problem) if part]
    hint = "; indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
    return f"{place}: not valid YAML: {', '.join(parts)}{hint}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
