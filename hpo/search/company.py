"""Which trials may run at the same time, as far as the memory of a shared GPU goes."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection

from chemprop_hpo.hpo.search.book import Flight

__all__ = ["Company"]

log = logging.getLogger(__name__)


class Company:
    """Lets trials run beside each other, and fewer where a GPU that they share is too small.

    A trial that runs out of memory beside others may be too large, or they may be too many. So it
    is run again by itself, when those that run have ended. Where it has room then, fewer run at
    once from there on; where it has not, it was the trial.

    Parameters
    ----------
    most : int
        How many fit at once, as Ray counts CPUs and GPUs.
    gpu_share : float
        GPUs of one trial; several share one where it is above 0 and at most a half.
    """

    def __init__(self, most: int, gpu_share: float) -> None:
        self.most = most
        self._fits = most
        self._to_a_gpu = int(1 / gpu_share + 1e-9) if gpu_share > 0 else 1
        self._by_itself: dict[int, int] = {}
        """How many fewer run at once for the sake of a trial, by its number."""

    def admits(self, flights: Collection[Flight]) -> bool:
        """Whether a new trial may begin beside those in flight."""
        return len(flights) < self.most and not self._is_reserved(flights)

    def readmits(self, flights: Collection[Flight]) -> bool:
        """Whether one of those in flight that waits for a worker may have one."""
        is_free = all(flight.needs_worker for flight in flights)
        return is_free or not self._is_reserved(flights)

    def is_crowded_out(self, flight: Flight, flights: Collection[Flight]) -> bool:
        """Hear that a trial ran out of memory; return whether it shall run again by itself."""
        if flight.number in self._by_itself:
            self.most += self._by_itself.pop(flight.number)
            log.warning(
                "trial %d has too little memory by itself; up to %d trials at once again",
                flight.number,
                self.most,
            )
            return False
        if self._to_a_gpu < 2 or self._fits < 2:
            return False
        self._by_itself[flight.number] = self._make_room(flights)
        log.warning(
            "trial %d ran out of memory where %d may share a GPU: it runs again by itself when "
            "those that run have ended, and then no more than %d at once; "
            "resources.gpus_per_trial=%g has that from the start, also when the study is resumed",
            flight.number,
            self._to_a_gpu,
            self.most,
            math.floor(100 / max(1, min(self.most, self._to_a_gpu - 1))) / 100,
        )
        return True

    def _make_room(self, flights: Collection[Flight]) -> int:
        """Let fewer run at once from now on, and return how many fewer."""
        if self._is_reserved(flights):
            return 0  # they ran out of memory together
        running = sum(not one.needs_worker for one in flights)
        before, self.most = self.most, max(1, min(self.most, running) - 1)
        return before - self.most

    def _is_reserved(self, flights: Collection[Flight]) -> bool:
        return any(flight.number in self._by_itself for flight in flights)
