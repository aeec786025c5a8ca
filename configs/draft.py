"""What is sound of a configuration that is not, so that the rest can still be checked."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from chemprop_hpo.configs.problems import Loc, overlaps
from chemprop_hpo.configs.schema import SweepConfig

__all__ = ["Draft", "make_draft"]

_MOST_ROUNDS = 5


@dataclass(frozen=True)
class Draft:
    """A configuration with its broken values replaced by defaults.

    Attributes
    ----------
    config : SweepConfig
        All sound values; a broken one has its default, a broken parameter is left out.
    broken : tuple of Loc
        Where it is broken.
    declared : frozenset of str
        Names under ``search_space``, broken ones included.
    """

    config: SweepConfig
    broken: tuple[Loc, ...]
    declared: frozenset[str]

    def sound(self, *locs: Loc) -> bool:
        """Whether nothing is broken in any of ``locs``."""
        return not any(overlaps(loc, broken) for loc in locs for broken in self.broken)


def make_draft(values: Any, config: SweepConfig | None, broken: list[Loc]) -> Draft | None:
    """Return the draft of ``values``: ``config`` itself, if it could be validated.

    None where so little is sound that nothing more can be said of it.
    """
    space = values.get("search_space")
    declared = frozenset(map(str, space)) if isinstance(space, dict) else frozenset()
    sound = config or _repaired(values, broken)
    return None if sound is None else Draft(sound, tuple(broken), declared)


def _repaired(values: Any, broken: list[Loc]) -> SweepConfig | None:
    pruned = deepcopy(values)
    for _ in range(_MOST_ROUNDS):
        for loc in broken:
            _prune(pruned, _cut(loc))
        if not isinstance(pruned.get("data"), dict):
            pruned["data"] = {}
        pruned["data"].setdefault("target_cols", ["?"])  # the one key without a default
        try:
            return SweepConfig.model_validate(pruned)
        except ValidationError as error:
            broken = [item["loc"] for item in error.errors(include_url=False)]
    return None


def _cut(loc: Loc) -> Loc:
    """Return the smallest part that can be left out: a key, or a whole parameter."""
    if loc[:1] == ("search_space",):
        return loc[:2]
    return _keys_only(loc)[:2]


def _keys_only(loc: Loc) -> Loc:
    first = next((i for i, part in enumerate(loc) if isinstance(part, int)), len(loc))
    return loc[: max(first, 1)]


def _prune(values: Any, loc: Loc) -> None:
    if not loc:
        return
    for part in loc[:-1]:
        if not isinstance(values, dict) or part not in values:
            return
        values = values[part]
    if isinstance(values, dict):
        values.pop(loc[-1], None)
