"""A promoter that is killed at a step: ``python -m tests.hpo.promotion.killed_promoter URI WORK STEP``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient

from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
from chemprop_hpo.hpo.promotion.promoting import promote
from chemprop_hpo.hpo.promotion.registered.registry import Registry, open_registry
from chemprop_hpo.hpo.promotion.rolling_back import roll_back
from chemprop_hpo.storage.ledger import Ledger, open_ledger
from tests.hpo.promotion.made_registry import config_of

STEPS: dict[str, tuple[type, str, int]] = {
    "intended": (Ledger, "intend", 1),
    "alias": (Registry, "set_alias", 1),
    "settled": (Ledger, "settle", 1),
    "cleared": (Registry, "set_alias", 2),
    "status": (MlflowClient, "set_model_version_tag", 1),
}
"""After which call, and the how many-th of them, the process is killed."""


def killed_after(step: Callable[..., Any], times: int) -> Callable[..., Any]:
    calls = []

    def and_killed(*args: Any, **options: Any) -> Any:
        done = step(*args, **options)
        calls.append(done)
        if len(calls) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return and_killed


def main() -> None:
    uri, work, step = sys.argv[1:]
    owner, name, times = STEPS[step]
    setattr(owner, name, killed_after(getattr(owner, name), times))
    config = config_of(uri)
    with open_ledger(ledger_url(config)) as ledger:
        if work == "promote":
            promote(open_registry(config), ledger, config.promotion)
        else:
            roll_back(open_registry(config), ledger, "worse on the new series")


if __name__ == "__main__":
    main()
