"""The floor of the race: a bare loop in torch, on batches that were collated before it began.

    python benchmarks/floor.py SWEEP.yaml --at-once 2 --out floor.json

Trains the configurations of the study that the file's sweep has left, each for as many epochs as
it has been trained there, and does nothing else: no search, no reports, no checkpoints, no
validation but at the end. ``--at-once`` processes share the work, with one thread each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chemprop.data import TrainingBatch

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.batches import Batches, epoch_rows
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import build_model
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.fitting import predict
from chemprop_hpo.hpo.chemistry.training.optimizers import build_optimizer, build_schedule
from chemprop_hpo.hpo.plan import featurizers
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.trials import trial_records


def main() -> None:
    """Train them all, and write when each was ready and how good it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path, help="its study holds the configurations")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _fold(options.sweep)  # for all processes: each is a fork of this one
    with multiprocessing.get_context("fork").Pool(options.at_once) as pool:
        tasks = [(options.sweep, *task) for task in _finished(options.sweep)]
        trained = list(pool.imap_unordered(_train, tasks))
    options.out.write_text(json.dumps(trained))


def _finished(sweep: Path) -> list[tuple[Mapping[str, Any], int]]:
    config = load_sweep(sweep).config
    with open_database(config.study.storage, create=False) as db:
        records = trial_records(open_study(db, config.study_name))
    return [(dict(r.params), r.epochs) for r in records if r.state == "COMPLETE"]


@cache
def _fold(sweep: Path) -> tuple[SweepConfig, Fold, list[TrainingBatch]]:
    """Return what all trainings share: the configuration, the fold, the batches of an epoch."""
    config = load_sweep(sweep).config
    fold = featurise_fold(read_fold(config), config, *featurizers(config))
    batches = Batches(fold, config.model)
    rows = epoch_rows(fold.train, config.optimization.batch_size, config.seed, 1)
    return config, fold, [batches.cut(some) for some in rows]


def _train(task: tuple[Path, Mapping[str, Any], int]) -> dict[str, float]:
    sweep, params, epochs = task
    base, fold, batches = _fold(sweep)
    config = base.with_params(dict(params))
    torch.manual_seed(config.seed)
    mpnn = quicken(build_model(config.model, config.optimization, fold))
    optimizer = build_optimizer(mpnn, config.optimization)
    schedule = build_schedule(optimizer, config.optimization, config.max_epochs, len(batches))
    mpnn.train()
    for _ in range(epochs):
        for batch in batches:
            optimizer.zero_grad()
            outputs = mpnn.predictor.train_step(mpnn.fingerprint(batch.bmg, None, batch.X_d))
            torch.nn.functional.mse_loss(outputs, batch.Y).backward()
            optimizer.step()
            schedule.step()
    errors = predict(mpnn, Batches(fold, config.model), fold.validation)
    errors -= fold.targets[fold.validation]
    rmse = float(np.sqrt(np.mean(errors**2)))
    return {"at": time.time(), "rmse": rmse, "epochs": epochs, "depth": config.model.depth}


if __name__ == "__main__":
    main()
