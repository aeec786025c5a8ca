"""Turn what stands on the command line into overrides of a sweep's file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from chemprop_hpo.configs.errors import ConfigError

__all__ = ["checked_overrides", "sweep_overrides"]


def checked_overrides(arguments: Sequence[str] | None) -> list[str]:
    """Return the arguments, if each is ``key=value``.

    Raises
    ------
    ConfigError
        Naming every argument that is not.
    """
    wrong = [text for text in arguments or () if not text.partition("=")[0] or "=" not in text]
    if wrong:
        raise ConfigError(*(_hint(text) for text in wrong))
    return list(arguments or ())


def sweep_overrides(
    arguments: Sequence[str] | None, study: str | None, storage: str | None
) -> list[str]:
    """Return all overrides, those of ``--study`` and ``--storage`` last, so that they win."""
    named = {"study.name": study, "study.storage": storage}
    # Quoted, since a value such as `1e3`, `a: b` or `no` would not arrive as text otherwise.
    quoted = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    return [*checked_overrides(arguments), *quoted]


def _hint(text: str) -> str:
    return f"'{text}' is no override; write key=value, as in num_samples=20"
