"""Say what is wrong with a table: all of it at once, with the rows named."""

from __future__ import annotations

from collections.abc import Sequence

from chemprop_hpo.configs.errors import DataError


def named_rows(rows: Sequence[int], limit: int = 10) -> str:
    """Write ``row 3``, ``rows 3, 5, 9`` or, beyond the limit, ``rows 3, 5, ... and 7 more``."""
    first = ", ".join(str(row) for row in rows[:limit])
    more = f" and {len(rows) - limit:,} more" if len(rows) > limit else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {first}{more}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write ``1 row`` or ``1,234 rows``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def raise_all(problems: Sequence[str]) -> None:
    """Raise one ``DataError`` with a line for each problem, if there is any."""
    if problems:
        raise DataError("\n".join(problems))
