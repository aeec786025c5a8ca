"""A candidate that is killed at a step: ``... killed_candidate URI PREDICTOR STEP``."""

from __future__ import annotations

import sys
from pathlib import Path

from chemprop_hpo.hpo.promotion.candidate import register_candidate
from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
from chemprop_hpo.hpo.promotion.registered.model_run import ModelRun
from chemprop_hpo.hpo.promotion.registered.registry import Registry, open_registry
from chemprop_hpo.storage.ledger import open_ledger
from tests.hpo.promotion.killed_promoter import killed_after
from tests.hpo.promotion.made_registry import config_of


def main() -> None:
    uri, predictor, step = sys.argv[1:]
    owner, name = {
        "logged": (ModelRun, "log_folder"),
        "version": (Registry, "add_version"),
    }[step]
    setattr(owner, name, killed_after(getattr(owner, name), times=1))
    config = config_of(uri)
    with open_ledger(ledger_url(config)) as ledger:
        register_candidate(open_registry(config), ledger, config, Path(predictor))


if __name__ == "__main__":
    main()
