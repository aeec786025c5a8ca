"""Run `chemprop hpopt` with two of its faults mended from outside, so that it comes to an end.

    .venv-peer/bin/python benchmarks/peer_hpopt.py AT_ONCE hpopt [OPTION ...]

For the Python environment of the peer; all but the first argument are those of `chemprop`. As it
is, version 2.3.1 starts as many trials as Ray has CPUs: they hold all of them and wait for workers,
which find none left (chemprop#1402), so a sweep of that many trials does not end. And its trials
share one folder, in which they find each other's checkpoints. Here AT_ONCE of them run at once, and
each has a folder of its own.
"""

from __future__ import annotations

import copy
import sys
import uuid
from typing import Any

import chemprop.cli.hpopt as hpopt
from chemprop.cli.main import main
from ray import tune
from ray.train.torch import TorchTrainer


def mend(concurrent: int) -> None:
    """Pass on what hpopt forgets, for this process and for those that it starts."""

    def trainer(*args: Any, run_config: Any, **kwargs: Any) -> TorchTrainer:
        own = copy.copy(run_config)
        own.name = uuid.uuid4().hex
        return TorchTrainer(*args, run_config=own, **kwargs)

    class TuneConfig(tune.TuneConfig):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings, max_concurrent_trials=concurrent)

    hpopt.TorchTrainer = trainer
    hpopt.tune.TuneConfig = TuneConfig


if __name__ == "__main__":
    mend(int(sys.argv.pop(1)))
    main()
