"""Put something in the place of what a library or the environment holds, for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["environment", "replaced"]


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Let a module or class have other attributes while entered."""
    before = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, have other environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
