"""What must never leave the driver: Tune pickles its searcher, scheduler and callbacks to disk."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["DriverSide"]


class DriverSide:
    """Pickles as its name and copies as itself.

    Tune writes snapshots of the objects that it is given for its own restore, which is not
    used here: the study in the database is the only truth. A snapshot would hold the
    database's URL with its password.
    """

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (type(self).__name__,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
