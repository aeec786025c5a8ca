"""Whether something may be done with a model, and what each rule says to it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Action", "Decision", "RuleOutcome", "ruled"]

Action = Literal["register", "promote", "roll back"]


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule says.

    Attributes
    ----------
    name : str
        The metric or the property that it is about.
    passed : bool
    figure : float, str, bool or None
        What was found; None where there is nothing, or no finite number.
    bound : float, str, bool or None
        What was asked for.
    text : str
        Both in one line, for a person.
    """

    name: str
    passed: bool
    figure: float | str | bool | None
    bound: float | str | bool | None
    text: str


@dataclass(frozen=True)
class Decision:
    """The outcome of all rules: an action is allowed if each of them passed."""

    action: Action
    rules: tuple[RuleOutcome, ...]

    @property
    def allowed(self) -> bool:
        """Whether the action may be taken."""
        return not self.blocked

    @property
    def blocked(self) -> tuple[RuleOutcome, ...]:
        """The rules that forbid it."""
        return tuple(rule for rule in self.rules if not rule.passed)

    @property
    def reason(self) -> str:
        """What blocks the action, or else what all rules say, in one line."""
        return "; ".join(rule.text for rule in self.blocked or self.rules)

    def as_dict(self) -> dict[str, Any]:
        """Return the decision in the terms of strict JSON, which knows neither NaN nor infinity."""
        rules = [asdict(rule) for rule in self.rules]
        return {"action": self.action, "allowed": self.allowed, "rules": rules}


def ruled(
    name: str,
    passed: bool,
    text: str,
    figure: float | str | bool | None = None,
    bound: float | str | bool | None = None,
) -> RuleOutcome:
    """Return an outcome whose numbers are finite, or None, and whose text is one line."""
    return RuleOutcome(name, passed, _finite(figure), _finite(bound), " ".join(text.split()))


def _finite(value: float | str | bool | None) -> float | str | bool | None:
    if not isinstance(value, float):
        return value
    return value + 0.0 if math.isfinite(value) else None  # minus zero looks like a loss
