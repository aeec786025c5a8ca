"""What the driver does between Tune's events: deliver, tell the observers, hear of dead workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from chemprop_hpo.hpo.events import Audience
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.search.writer import StudyWriter
from chemprop_hpo.hpo.trial.failures import is_host_memory_kill

__all__ = ["SweepCallback"]

LONGEST_ERROR = 500

TIDY_EVERY_S = 2.0
"""What ended trials leave behind is removed together: each time, the whole study is looked at."""


class SweepCallback(DriverSide, Callback):
    """Hooks into Tune's loop.

    Parameters
    ----------
    searcher : StudySearcher
        Told of trials whose worker failed.
    writer : StudyWriter
        Delivers what waits for the database as the loop turns.
    audience : Audience
        Ticked.
    tidy : callable
        Removes files that are no longer needed; called soon after a trial has ended. What the
        last ones leave is the sweep's to remove at its end.
    """

    def __init__(
        self,
        searcher: StudySearcher,
        writer: StudyWriter,
        audience: Audience,
        tidy: Callable[[], None],
    ) -> None:
        self._searcher = searcher
        self._writer = writer
        self._audience = audience
        self._tidy = tidy
        self._is_untidy = False
        self._tidy_at = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Deliver, tick, and remove what ended trials leave behind."""
        self._writer.turn()
        self._audience.tell(lambda observer: observer.tick())
        if self._is_untidy and time.monotonic() >= self._tidy_at:
            self._tidy()
            self._is_untidy, self._tidy_at = False, time.monotonic() + TIDY_EVERY_S

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that there is something to remove."""
        self._is_untidy = True

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say why a worker failed."""
        text = _what_ray_wrote(trial)
        why = text.splitlines()[-1][:LONGEST_ERROR] if text else "its worker process died"
        self._searcher.worker_failed(trial.trial_id, why, out_of_memory=is_host_memory_kill(text))
        self._is_untidy = True


def _what_ray_wrote(trial: Any) -> str:
    written = Path(trial.error_file) if trial.error_file else None
    return written.read_text().strip() if written and written.exists() else ""
