"""What the driver does between Tune's events: beat, tell the observers, settle failed workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from chemprop_hpo.hpo.events import Audience
from chemprop_hpo.hpo.search.driver_side import DriverSide
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.storage.ownership import BEAT_EVERY_S, Driver

__all__ = ["SweepCallback"]

LONGEST_ERROR = 500


class SweepCallback(DriverSide, Callback):
    """Hooks into Tune's loop.

    Parameters
    ----------
    searcher : StudySearcher
        Told of trials whose worker failed.
    driver : Driver
        Beats while the loop turns.
    audience : Audience
        Ticked.
    tidy : callable
        Removes files that are no longer needed; called when a trial has ended.
    """

    def __init__(
        self,
        searcher: StudySearcher,
        driver: Driver,
        audience: Audience,
        tidy: Callable[[], None],
    ) -> None:
        self._searcher = searcher
        self._driver = driver
        self._audience = audience
        self._tidy = tidy
        self._beaten_at = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Beat and tick."""
        if time.monotonic() - self._beaten_at >= BEAT_EVERY_S:
            self._driver.beat()
            self._beaten_at = time.monotonic()
        self._audience.tell(lambda observer: observer.tick())

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remove what the trial leaves behind."""
        self._tidy()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write down why a worker failed for good."""
        self._searcher.fail(trial.trial_id, _why(trial))
        self._tidy()


def _why(trial: Any) -> str:
    """Return the last line of what Ray wrote about a failed worker."""
    written = Path(trial.error_file) if trial.error_file else None
    text = written.read_text().strip() if written and written.exists() else ""
    return text.splitlines()[-1][:LONGEST_ERROR] if text else "its worker process died"
