"""Small studies with complete trials, made without a sweep, and a training of members here."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rdkit import Chem

from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.hpo.ensembles.members.origin import note_origin, present_origin
from chemprop_hpo.hpo.identity import manifest_of, record_of
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.members import (
    MemberRecord,
    add_members,
    claim_member,
    end_member,
    read_members,
    restart_member,
    write_epoch,
)
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_or_create_study

RATES = FloatDistribution(1e-4, 1e-1, log=True)
MAX_LR = {"max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}}
SMALL = {
    "model": {"message_hidden_dim": 16, "hidden_dim": 16, "depth": 2},
    "optimization": {"batch_size": 8, "warmup_epochs": 1},
    "scheduler": {"type": "none", "max_t": 3},
    "mlflow": {"tracking": False},
}


def molecules(n: int = 60) -> list[str]:
    """Return distinct small molecules, of few atoms and of many in turn."""
    starts, ends = ("", "O", "N", "CC(C)", "Cl", "F"), ("", "O", "N", "S")
    written = (a + "C" * m + b for m, a, b in product(range(1, 9), starts, ends))
    distinct = {Chem.CanonSmiles(text): text for text in written}
    order = np.random.default_rng(0).permutation(len(distinct))
    return [list(distinct.values())[i] for i in order[:n]]


def labels(smiles: str) -> tuple[float, float]:
    """Return a size from 1 to some 100, and the share of atoms that are not carbon."""
    atoms = Chem.MolFromSmiles(smiles).GetAtoms()
    hetero = sum(atom.GetSymbol() != "C" for atom in atoms)
    return 10 ** (len(atoms) / 6) - 1, hetero / len(atoms)


def write_table(
    path: Path, rows: Sequence[str], *, missing: Collection[int] = (), classes: bool = False
) -> Path:
    """Write SMILES with ``size`` and ``polar``; some lack the latter, or both are classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "size", "polar"])
        for i, smiles in enumerate(rows):
            size, polar = labels(smiles)
            shown: list[Any] = [f"{size:.4g}", f"{polar:.4f}"]
            if classes:
                shown = [int(size > 12), int(polar > 0.25)]
            writer.writerow([smiles, shown[0], "" if i in missing else shown[1]])
    return path


def small_sweep(
    folder: Path, *, data: Mapping[str, Any] | None = None, **sections: Any
) -> LoadedSweep:
    """Return a sweep over the learning rate on a table of 60 molecules."""
    table = folder / "molecules.csv"
    if not table.exists():
        write_table(table, molecules())
    config: dict[str, Any] = {
        **SMALL,
        "data": {
            "file": str(table),
            "target_cols": ["size", "polar"],
            "target_transforms": {"size": "log10p1"},
            "target_units": {"size": "µM"},
        }
        | dict(data or {}),
        "split": {"method": "random", "test_fraction": 0.2, "n_folds": 2},
        "search_space": MAX_LR,
        "study": {
            "name": "small",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
    }
    return load_stored({k: v for k, v in (config | sections).items() if v is not None})


def study_of(loaded: LoadedSweep, values: Sequence[float]) -> optuna.Study:
    """Return its study with a complete trial for each value, in memory; a NaN has failed."""
    config = loaded.config
    direction = "maximize" if config.mode == "max" else "minimize"
    study = optuna.create_study(study_name=config.study_name, direction=direction)
    study.add_trials([trial(n, value) for n, value in enumerate(values)])
    return study


def stored_study(
    folder: Path, values: Sequence[float] = (0.3, 0.2, 0.4), **more: Any
) -> LoadedSweep:
    """Make a sweep whose study is in a database, with a complete trial for each value."""
    loaded = small_sweep(folder, **more)
    config = loaded.config
    record = record_of(loaded, manifest_of(config, read_fold(config)), config.study_folder)
    with open_database(config.study.storage) as db:
        study, _ = open_or_create_study(db, config.study_name, record)
        study.add_trials([trial(n, value) for n, value in enumerate(values)])
    return loaded


def trial(number: int, value: float) -> FrozenTrial:
    """Return a complete trial with a learning rate of its own; one without a value has failed."""
    metrics = {"val_nrmse": 0.5, "val_rmse": 0.5, "val_r2": 0.8, "generalisation_gap": 0.1}
    return create_trial(
        params={"max_lr": 0.02 / (1 + number)},
        distributions={"max_lr": RATES},
        value=None if math.isnan(value) else value,
        state=TrialState.FAIL if math.isnan(value) else TrialState.COMPLETE,
        user_attrs={
            "metrics": metrics,
            "epochs": 3,
            "best_epoch": 3,
            "seed": 7,
            "stop_reason": "max_t",
        },
    )


class TrainedHere:
    """Trains members as `train_members` does, in this process and without Ray.

    Parameters
    ----------
    failing : collection of (trial, split, fold)
        Members that cannot be trained.
    """

    def __init__(self, failing: Collection[tuple[int, int, int]] = ()) -> None:
        self.failing = failing
        self.trained: list[tuple[int, int, int]] = []
        """Trial, split and fold of each that was trained, in order."""

    def __call__(
        self,
        db: Database,
        study: Any,
        config: Any,
        folder: Path,
        jobs: Sequence[MemberJob],
        molecules: Any,
        observers: Sequence[Any] = (),
        *,
        retry_failed: bool = False,
    ) -> list[MemberRecord]:
        records = add_members(db, study, [job.entry for job in jobs])
        again = [r for r in records if r.state == "failed" and retry_failed]
        if any(restart_member(db, record, anew=False) for record in again):
            records = read_members(db, study, [job.key for job in jobs])
        driver = Driver.register(db, study)
        for job, record in zip(jobs, records, strict=True):
            if record.state == "waiting":
                self._train(db, study, driver.id, folder, job, molecules)
        driver.leave()
        return read_members(db, study, [job.key for job in jobs])

    def _train(
        self, db: Database, study: Any, driver: str, folder: Path, job: MemberJob, molecules: Any
    ) -> None:
        record = claim_member(db, study, driver, [job.key])
        assert record is not None
        self.trained.append(job.key[:3])
        if job.key[:3] in self.failing:
            error = "Traceback\nValueError: too hard"
            end_member(
                db, record.id, driver, "failed", stop_reason="error", metrics={}, error=error
            )
            return
        best = TrialFolder(folder / job.folder).best_model
        note_origin(best.parent, present_origin())

        def on_epoch(report: Any, training: Any) -> bool:
            training.save_best(best)
            write_epoch(
                db,
                record.id,
                driver,
                epoch=report.epoch,
                best_epoch=report.best_epoch,
                value=report.best,
                curve=report.curve,
            )
            return True

        last = train(job.spec, molecules.fold(job.key.split, job.key.fold), on_epoch)
        assert last is not None
        end_member(
            db,
            record.id,
            driver,
            "complete",
            stop_reason=last.stop_reason or "max_t",
            metrics=last.final or {},
        )
