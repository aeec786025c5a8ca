"""Which trials may run at the same time, as far as the memory of a shared GPU goes."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection

from chemprop_hpo.hpo.search.book import Flight

__all__ = ["GpuSharing"]

log = logging.getLogger(__name__)


class GpuSharing:
    """Lets trials run beside each other, and fewer where a GPU that they share is too small.

    A trial that runs out of memory beside others may be too large, or they may be too many. So it
    is run again by itself, when those that run have ended, and nothing else begins meanwhile. Where
    it then has room for an epoch, fewer run at once from there on; where it has not, it was the
    trial. Those that run out of memory before the first of them runs by itself are one group: if
    one of them was too large, the others are no evidence.

    Parameters
    ----------
    fits : int
        How many fit at once, as Ray counts CPUs and GPUs.
    gpu_share : float
        GPUs of one trial; several share one where it is above 0 and at most a half.
    """

    def __init__(self, fits: int, gpu_share: float) -> None:
        self._most = self._most_before = self._crowd = fits
        self._to_a_gpu = int(1 / gpu_share + 1e-9) if gpu_share > 0 else 1
        self._has_many_gpus = fits > self._to_a_gpu
        self._alone: set[int] = set()
        """Trials of the group that run, or will run, by themselves; by number."""
        self._beside: dict[int, int] = {}
        """How many ran at most, a trial among them, since its last new epoch; by number."""
        self._is_settled = False
        self._has_advised = False

    def admits(self, flights: Collection[Flight]) -> bool:
        """Whether a new trial may begin beside those in flight."""
        return len(flights) < self._most and not self._is_reserved(flights)

    def readmits(self, flights: Collection[Flight]) -> bool:
        """Whether one of those in flight that waits for a worker may have one."""
        return not _running(flights) or not self._is_reserved(flights)

    def is_alone(self, flight: Flight) -> bool:
        """Whether a trial is to run by itself."""
        return flight.number in self._alone

    def note_begin(self, flight: Flight, flights: Collection[Flight]) -> None:
        """Hear that a trial has been given a worker."""
        running = _running(flights)
        self._beside[flight.number] = len(running)
        for number in running:
            self._beside[number] = max(self._beside.get(number, 0), len(running))

    def note_epoch(self, flight: Flight, flights: Collection[Flight]) -> None:
        """Hear that a trial had memory for an epoch."""
        self._beside[flight.number] = len(_running(flights))
        if flight.number not in self._alone or self._is_settled:
            return
        self._has_advised = True
        self._is_settled = True
        fewer = max(1, self._crowd - 1)
        if not self._has_many_gpus:  # Ray would fill one of several, however few there are in all
            self._most = min(self._most, fewer)
        log.warning(
            "trial %d has room by itself; %sresources.gpus_per_trial=%g lets fewer share a GPU "
            "from the start, also when the study is resumed",
            flight.number,
            "" if self._has_many_gpus else f"no more than {self._most} at once from now on; ",
            _share_for(min(fewer, max(1, self._to_a_gpu - 1))),
        )

    def is_crowded_out(
        self, flight: Flight, flights: Collection[Flight], error: str | None
    ) -> bool:
        """Hear that a trial ran out of memory; return whether it shall run again by itself."""
        if flight.number in self._alone:
            self._blame(flight)
            return False
        crowd = self._beside.get(flight.number, 1)
        if self._to_a_gpu < 2 or crowd < 2 or (self._has_many_gpus and self._has_advised):
            return False
        if not self._is_reserved(flights):
            self._alone, self._is_settled = set(), False
            self._most_before, self._crowd = self._most, crowd
        self._alone.add(flight.number)
        log.warning(
            "trial %d ran out of memory where up to %d trials share a GPU (%s): it runs again by "
            "itself when those that run have ended",
            flight.number,
            min(self._to_a_gpu, self._most),
            error,
        )
        return True

    def _blame(self, flight: Flight) -> None:
        self._most, self._is_settled = self._most_before, True
        log.warning(
            "trial %d has too little memory by itself as well; up to %d at once again",
            flight.number,
            self._most,
        )

    def _is_reserved(self, flights: Collection[Flight]) -> bool:
        return any(flight.number in self._alone for flight in flights)


def _running(flights: Collection[Flight]) -> set[int]:
    return {flight.number for flight in flights if not flight.needs_worker}


def _share_for(trials: int) -> float:
    """Return a share of a GPU that so many trials fit into, rounded down."""
    return math.floor(10_000 / trials) / 10_000
