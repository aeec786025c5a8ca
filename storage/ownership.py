"""Which driver runs which trial: drivers, slots of the budget, orphans and their successors."""

from __future__ import annotations

from chemprop_hpo.storage.continuations import (
    MAX_RETRIES,
    StopReason,
    continue_trial,
    orphans,
)
from chemprop_hpo.storage.drivers import (
    BEAT_EVERY_S,
    DEAD_AFTER_S,
    Driver,
    DriverRow,
    Roster,
    all_drivers,
    is_dead,
    live_drivers,
)
from chemprop_hpo.storage.optuna_storage import SlotLostError
from chemprop_hpo.storage.slots import (
    claim_slot,
    claimed_slots,
    release_stale_slots,
)

__all__ = [
    "BEAT_EVERY_S",
    "DEAD_AFTER_S",
    "MAX_RETRIES",
    "Driver",
    "DriverRow",
    "Roster",
    "SlotLostError",
    "StopReason",
    "all_drivers",
    "claim_slot",
    "claimed_slots",
    "continue_trial",
    "is_dead",
    "live_drivers",
    "orphans",
    "release_stale_slots",
]
