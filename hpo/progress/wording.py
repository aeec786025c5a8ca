"""Words for what a sweep's display and its commands say alike."""

from __future__ import annotations

__all__ = ["FREE_REASONS", "MINUTE_S", "STATE_WORDS", "duration"]

MINUTE_S = 60
STATE_WORDS = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed"}
# These links of a chain are taken up again by another trial and use no budget.
FREE_REASONS = frozenset({"interrupted", "orphaned", "time_budget"})


def duration(seconds: float) -> str:
    """Return a length of time as a person says it.

    Examples
    --------
    >>> duration(20), duration(200), duration(5000)
    ('less than a minute', '4 min', '1 h 24 min')
    """
    if seconds < MINUTE_S:
        return "less than a minute"
    minutes = -int(-seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.0f} days"
