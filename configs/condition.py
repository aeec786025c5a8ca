"""Turn ``"ffn_type == 'branched'"`` into a checked predicate over other hyperparameters."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.section import Value

__all__ = ["Comparison", "Condition", "parse_condition"]

Constant = Value | tuple[Value, ...]
Verdict = bool | None
"""True, False, or None where a value that decides is absent."""

_OPERATORS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.In: ("in", lambda left, right: left in right),
    ast.NotIn: ("not in", lambda left, right: left not in right),
}
_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_WORDS = {"true": True, "false": False, "True": True, "False": False}
_LONGEST = 1000


@dataclass(frozen=True)
class Comparison:
    """One comparison of a name with a constant, turned so that the name stands on the left."""

    name: str
    symbol: str
    constant: Constant


@dataclass(frozen=True)
class Condition:
    """A predicate over the values of other hyperparameters.

    Attributes
    ----------
    text : str
        The condition as it was written.
    names : frozenset of str
        The hyperparameters that it speaks of.
    comparisons : tuple of Comparison
        Its comparisons of a name with a constant.
    """

    text: str
    names: frozenset[str]
    comparisons: tuple[Comparison, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the condition is true; False where a value that decides is absent."""
        return self.verdict(values) is True

    def verdict(self, values: Mapping[str, Value]) -> Verdict:
        """Return True or False, or None where a value that decides is absent."""
        return _verdict(self._tree, values)


def parse_condition(text: str) -> Condition:
    """Parse a condition: comparisons, ``in``, ``and``, ``or``, ``not`` and parentheses.

    Parameters
    ----------
    text : str
        Such as ``ffn_type == 'branched' and 2 <= depth <= 4``.

    Raises
    ------
    ConfigError
        If the text is anything else. Nothing of it is ever executed.
    """
    tree = _parse(text)
    _check(tree, text)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    names = frozenset(node.id for node in nodes if node.id not in _WORDS)
    if not names:
        raise ConfigError(f"condition {text!r} names no hyperparameter")
    return Condition(text, names, tuple(_comparisons(tree)), tree)


def _parse(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ConfigError(f"condition is longer than {_LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        hint = "; write == to compare" if _single_equals(text) else ""
        raise ConfigError(f"condition {text!r} cannot be read{hint}") from None


def _single_equals(text: str) -> bool:
    bare = text
    for symbol in ("==", "!=", "<=", ">="):
        bare = bare.replace(symbol, "")
    return "=" in bare


# --------------------------------------------------------------------------- what is allowed


def _check(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check(part, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, text)
    elif isinstance(node, ast.Compare):
        _check_comparison(node, text)
    elif isinstance(node, ast.Name) and node.id not in _WORDS:
        raise ConfigError(f"condition {text!r} compares nothing; write {node.id} == true")
    else:
        raise _not_allowed(node, text)


def _check_comparison(node: ast.Compare, text: str) -> None:
    for left, step, right in _steps(node):
        if type(step) not in _OPERATORS:
            raise _not_allowed(node, text)
        membership = isinstance(step, ast.In | ast.NotIn)
        if membership and not isinstance(right, ast.List | ast.Tuple):
            raise ConfigError(f"condition {text!r} needs a list after `in`: in ['a', 'b']")
        _check_operand(left, text)
        if isinstance(right, ast.List | ast.Tuple) and membership:
            _check_list(right, text)
        else:
            _check_operand(right, text)


def _check_list(node: ast.List | ast.Tuple, text: str) -> None:
    if not node.elts:
        raise ConfigError(f"condition {text!r} compares with an empty list")
    for item in node.elts:
        if not _is_constant(item):
            raise _not_allowed(item, text)


def _check_operand(node: ast.expr, text: str) -> None:
    if not isinstance(node, ast.Name) and not _is_constant(node):
        raise _not_allowed(node, text)


def _is_constant(node: ast.expr) -> bool:
    try:
        return isinstance(_constant(node), bool | int | float | str)
    except (ValueError, TypeError):
        return False


def _not_allowed(node: ast.expr, text: str) -> ConfigError:
    return ConfigError(
        f"condition {text!r} may hold only comparisons of hyperparameters with values, "
        f"`in`, `and`, `or`, `not` and parentheses, not {ast.unparse(node)!r}"
    )


# --------------------------------------------------------------------------- what it says


def _verdict(node: ast.expr, values: Mapping[str, Value]) -> Verdict:
    if isinstance(node, ast.BoolOp):
        parts = [_verdict(part, values) for part in node.values]
        return _all(parts) if isinstance(node.op, ast.And) else _any(parts)
    if isinstance(node, ast.UnaryOp):
        inner = _verdict(node.operand, values)
        return None if inner is None else not inner
    assert isinstance(node, ast.Compare)  # parse_condition let nothing else through
    return _all([_compare(step, values) for step in _steps(node)])


def _all(parts: list[Verdict]) -> Verdict:
    return False if False in parts else None if None in parts else True


def _any(parts: list[Verdict]) -> Verdict:
    return True if True in parts else None if None in parts else False


def _compare(step: tuple[ast.expr, ast.cmpop, ast.expr], values: Mapping[str, Value]) -> Verdict:
    left, right = _operand(step[0], values), _operand(step[2], values)
    if left is None or right is None:
        return None
    try:
        return bool(_OPERATORS[type(step[1])][1](left, right))
    except TypeError:  # text is neither smaller nor larger than a number
        return False


def _operand(node: ast.expr, values: Mapping[str, Value]) -> Constant | None:
    if isinstance(node, ast.Name) and node.id not in _WORDS:
        return values.get(node.id)
    return _constant(node)


def _constant(node: ast.expr) -> Constant:
    if isinstance(node, ast.Name):
        return _WORDS[node.id] if node.id in _WORDS else _no_constant(node)
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_constant(item) for item in node.elts)  # type: ignore[misc]  # flat, checked
    value: Constant = ast.literal_eval(node)
    return value


def _no_constant(node: ast.expr) -> Constant:
    raise ValueError(ast.unparse(node))


def _steps(node: ast.Compare) -> list[tuple[ast.expr, ast.cmpop, ast.expr]]:
    operands = [node.left, *node.comparators]
    return list(zip(operands, node.ops, operands[1:], strict=False))


def _comparisons(tree: ast.expr) -> list[Comparison]:
    found = []
    for node in ast.walk(tree):
        for left, step, right in _steps(node) if isinstance(node, ast.Compare) else ():
            found += _named(left, _OPERATORS[type(step)][0], right)
    return found


def _named(left: ast.expr, symbol: str, right: ast.expr) -> list[Comparison]:
    if _is_name(left) and not _is_name(right):
        return [Comparison(ast.unparse(left), symbol, _constant(right))]
    if _is_name(right) and not _is_name(left):
        return [Comparison(ast.unparse(right), _SWAPPED[symbol], _constant(left))]
    return []


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id not in _WORDS
