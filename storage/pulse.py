"""Let a driver beat for as long as it works, whatever else its process does."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

import optuna

from chemprop_hpo.configs.secrets import mask_text
from chemprop_hpo.storage.drivers import BEAT_EVERY_S, DEAD_AFTER_S, Driver, live_drivers
from chemprop_hpo.storage.outages import is_outage

__all__ = ["Pulse"]

log = logging.getLogger(__name__)

_TRY_AGAIN_EVERY_S = 1.0
_LONG_SILENCE_S = DEAD_AFTER_S / 2
_LEAVE_WITHIN_S = 1.0


class Pulse:
    """Beats from entry to exit, in a thread of its own.

    The thread keeps no process alive, and nothing that happens to the database ends it: it goes
    on trying, and `silent_s` tells for how long in vain.

    Parameters
    ----------
    driver : Driver
        The present process; it has just been registered, which counts as a beat.
    study : optuna.Study
        What it works on.
    """

    def __init__(self, driver: Driver, study: optuna.Study) -> None:
        self._driver = driver
        self._study = study
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chemprop-hpo-pulse", daemon=True)
        self._beaten_at = time.monotonic()
        self._beaten_by_the_clock = time.time()
        self._alone = False
        self._deleted = False

    @property
    def alone(self) -> bool:
        """Whether no other driver worked on the study at the last beat."""
        return self._alone

    @property
    def deleted(self) -> bool:
        """Whether the study, and this driver with it, is gone."""
        return self._deleted

    def silent_s(self) -> float:
        """Return the seconds since the last beat that arrived."""
        return time.monotonic() - self._beaten_at

    def __enter__(self) -> Self:
        self._try_to_beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(_LEAVE_WITHIN_S)

    def _run(self) -> None:
        engine, pause = self._driver.db.engine, BEAT_EVERY_S
        pool = engine.pool
        while not self._end.wait(pause) and not self._deleted:
            pause = self._try_to_beat()
        self._driver.db.storage.remove_session()
        if engine.pool is not pool:  # a beat outlasted the database's end: close what it held
            pool.dispose()
            engine.dispose()

    def _try_to_beat(self) -> float:
        """Beat if that is possible now, and return how long to wait until the next attempt."""
        try:
            self._beat()
        except Exception as error:
            if is_outage(error):
                return _TRY_AGAIN_EVERY_S
            log.warning("this driver could not beat: %s", mask_text(str(error)))
        return BEAT_EVERY_S

    def _beat(self) -> None:
        began, clock = time.monotonic(), time.time()
        self._deleted = not self._driver.beat()
        if clock - self._beaten_by_the_clock > _LONG_SILENCE_S:
            # The database was away, or this machine asleep: other drivers may have been so too.
            self._driver.db.note_return()
        self._beaten_at, self._beaten_by_the_clock = began, clock
        if not self._deleted:
            others = live_drivers(self._driver.db, self._study)
            self._alone = all(row.id == self._driver.id for row in others)
