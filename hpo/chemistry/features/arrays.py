"""Arrays that nobody may write to, since many processes read the same memory."""

from __future__ import annotations

from typing import Any, TypeVar

from numpy.typing import NDArray

Array = TypeVar("Array", bound=NDArray[Any])


def read_only(array: Array) -> Array:
    """Forbid writing to an array that its maker hands out, and return it."""
    array.setflags(write=False)
    return array
