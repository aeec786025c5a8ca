"""Tell which changes of a study's configuration would give its finished trials another meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chemprop_hpo.configs.problems import shown

__all__ = ["refused_changes"]

# They say how long a trial may train or repeat what stands elsewhere; the rest says what it is.
_NOT_THE_MODEL = frozenset(
    {"max_epochs", "patience", "seed", "num_workers", "progress_bar", "criterion"}
)
_TRAINED = ("model", "optimization")


def refused_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line for each change with which a study cannot go on.

    What a trial was trained with is in its hyperparameters where it is searched, and only in
    the study's configuration where it is not. Keys that one of the two does not know are
    passed over: another version of the program wrote it.

    Parameters
    ----------
    before, now : Mapping
        Complete configurations, as `LoadedSweep.stored` has them. Metric, data and choices are
        not looked at here: storage compares them.
    """
    return [
        *_base_values(before, now),
        *_first_trials(before, now),
        *_seed(before, now),
        *_grid(before, now),
    ]


# ----------------------------------------------------------------------------- what is refused


def _base_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    told_by_trials = _NOT_THE_MODEL | _always_searched(before)
    for name in _TRAINED:
        for key, old, new in _differing((name,), before, now):
            if key.rpartition(".")[2] not in told_by_trials:
                yield f"{key}: its trials were trained with {_shown(old)}, not {_shown(new)}"


def _always_searched(config: Mapping[str, Any]) -> set[str]:
    """Return the parameters that each trial has; others keep the base value on some branch."""
    space = _section(config, ("search_space",))
    return {name for name in space if not _section(space, (name,)).get("condition")}


def _first_trials(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in ("base", "enqueue"):
        for _ in _differing((key,), before, now):
            yield f"{key}: the study has given out its first trials, others would never run"


def _seed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for _, old, new in _differing(("seed",), before, now):
        yield f"seed: the study has {_shown(old)}, not {_shown(new)}"


def _grid(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Points of a grid are told apart by their place in it, which must stay theirs."""
    kinds = [_section(config, ("sampler",)).get("type") for config in (before, now)]
    if kinds[0] != "grid" and kinds[1] == "grid":
        yield "sampler.type: a grid is tried from its first point on, which needs a new study"
    elif kinds == ["grid", "grid"] and _points(before) != _points(now):
        yield "search_space: a grid that was begun keeps its points"


def _points(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(_section(config, ("search_space",)).items())


# ----------------------------------------------------------------------------- compare


def _differing(
    path: Sequence[str], before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted key, old and new value of each difference below ``path``."""
    *sections, last = path
    old, new = _section(before, sections), _section(now, sections)
    if last not in old or last not in new or _plain(old[last]) == _plain(new[last]):
        return
    if isinstance(old[last], Mapping) and isinstance(new[last], Mapping):
        for key in old[last]:
            yield from _differing((*path, key), before, now)
    else:
        yield ".".join(path), old[last], new[last]


def _section(config: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for key in path:
        part = config.get(key)
        config = part if isinstance(part, Mapping) else {}
    return config


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back: a tuple has become a list."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)
