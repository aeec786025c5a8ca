"""What a study searched and found, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chemprop_hpo.configs.section import Value

__all__ = ["Search", "SearchedParameter", "SearchedTrial"]


@dataclass(frozen=True)
class SearchedParameter:
    """A parameter that had more than one value to take.

    Attributes
    ----------
    low, high : float or None
        The ends of its range; None where it was chosen from a list.
    step : float or None
        The distance of its values; None where any value between the ends was possible.
    log : bool
        Whether it was searched on its logarithm.
    choices : tuple
        The list, in its order; empty where there was a range.
    condition : str
        Where it was searched only; empty if everywhere.
    can_be_lower, can_be_higher : bool
        Whether values beyond the ends mean anything.
    importance, by_chance : float or None
        Its share in the importance of all, and what that stays below in 95 of 100 cases where
        the best trials are drawn by lot.
    """

    name: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    condition: str = ""
    can_be_lower: bool = True
    can_be_higher: bool = True
    importance: float | None = None
    by_chance: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of its range, as floats; NaN for a list."""
        return (
            math.nan if self.low is None else float(self.low),
            math.nan if self.high is None else float(self.high),
        )

    def place(self, value: Value) -> float | None:
        """Return where a value stands: its number in the list, or itself; None if nowhere."""
        if self.choices:
            same = (i for i, choice in enumerate(self.choices) if _same(choice, value))
            return next(same, None)
        if isinstance(value, str | bool) or (self.log and value <= 0):
            return None
        return float(value)


@dataclass(frozen=True)
class SearchedTrial:
    """A complete trial.

    Attributes
    ----------
    value : float
        The study's metric at its best epoch.
    parameters : mapping
        Those of branches that it did not take are absent.
    top : bool
        Whether it is among the best.
    """

    number: int
    value: float
    parameters: Mapping[str, Value]
    top: bool


@dataclass(frozen=True)
class Search:
    """What was searched, and what the complete trials found.

    Attributes
    ----------
    parameters : tuple of SearchedParameter
        The most important first, where that is known.
    trials : tuple of SearchedTrial
        The complete ones, the best first.
    stopped : int
        How many more the scheduler stopped; they count in the importances alone.
    reason : str
        Why there are no importances; empty where there are.
    metric, mode : str
        What the study optimised, and whether ``min`` or ``max`` is better.
    """

    parameters: tuple[SearchedParameter, ...]
    trials: tuple[SearchedTrial, ...]
    stopped: int = 0
    reason: str = ""
    metric: str = "val_loss"
    mode: Literal["min", "max"] = "min"

    @property
    def top(self) -> tuple[SearchedTrial, ...]:
        """The trials that are among the best, the best first."""
        return tuple(trial for trial in self.trials if trial.top)

    @property
    def is_telling(self) -> bool:
        """Whether there are trials enough for the top to be a choice among them."""
        return len(self.trials) >= 2 * len(self.top)


def _same(one: Value, other: Value) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)
