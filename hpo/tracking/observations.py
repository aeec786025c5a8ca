"""What a search found out about its parameters, as MLflow is told it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chemprop_hpo.storage.outages import is_outage

__all__ = ["Observations", "observed"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observations:
    """What there is to say so far; nothing before a trial is complete.

    Attributes
    ----------
    metrics : mapping of str to float
        ``importance/<parameter>``, where importances are known.
    files : mapping of str to str or bytes
        Pictures and a table, by their names in the sweep's run.
    step : int
        How many trials were complete.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    step: int = 0


def observed(read: Callable[[], Observations]) -> Observations:
    """Return what is read, or nothing, with a warning, where it cannot be drawn.

    Fonts, and figures that no picture was made for, are no reason to leave a run open.
    """
    try:
        return read()
    except Exception as error:
        if is_outage(error):
            raise
        _log.warning("what was found out about the parameters is not logged", exc_info=True)
        return Observations()
