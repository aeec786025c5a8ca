"""Members to train: a study, two of its trials on two folds, and a training that keeps a diary.

Run it as a driver of its own as `python -m tests.hpo.made_members FOLDER`.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import ChempropHpoError
from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.features.molecule_set import MoleculeSet, featurise_folds
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.chemistry.training.train import EpochReport, TrainingSpec, train
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob, features_of, member_jobs
from chemprop_hpo.hpo.ensembles.members.training import train_members
from chemprop_hpo.hpo.trial.interrupts import stopped_by_signals
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.members import MemberRecord, read_members
from chemprop_hpo.storage.studies import open_or_create_study
from chemprop_hpo.storage.trials import TrialRecord
from tests.conformance.made import RECORD
from tests.hpo.paced import PACE
from tests.hpo.scripted import GOOD, scripted_train, table

DIARY = "CHEMPROP_HPO_TEST_DIARY"


LONG = 60
"""Epochs of members that are to be met in flight."""


def trial(number: int, params: dict[str, Any]) -> TrialRecord:
    """Return a complete trial."""
    empty = {field.name: None for field in dataclasses.fields(TrialRecord)}
    return TrialRecord(**{**empty, "number": number, "state": "COMPLETE", "params": params})


def config_of(folder: Path, *, max_epochs: int = 20, **sections: Any) -> SweepConfig:
    config: dict[str, Any] = {
        "data": {"file": str(table(folder)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "n_folds": 2},
        "model": {"message_hidden_dim": 8, "hidden_dim": 8, "depth": 2},
        "optimization": {"batch_size": 8, "warmup_epochs": 1},
        "search_space": {"depth": {"type": "randint", "low": 1, "high": 14}},
        "scheduler": {"type": "none", "max_t": max_epochs},
        "resources": {"max_concurrent_trials": 2},
        "study": {
            "name": "made",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
        "checkpoint_every_s": 0.0,
    }
    return load_stored(config | sections).config


def slow_config(folder: Path) -> SweepConfig:
    """Return the configuration of members that are trained one at a time, for long."""
    return config_of(folder, max_epochs=LONG, resources={"max_concurrent_trials": 1})


@dataclass
class Members:
    """All that a training of members needs.

    Parameters
    ----------
    folder : Path
        Where all of it lies.
    depths : sequence of int
        Of each trial: its script, where the training follows one.
    """

    folder: Path
    config: SweepConfig
    depths: Sequence[int] = (GOOD, GOOD)

    def __post_init__(self) -> None:
        tables = read_folds(self.config, fold_list(self.config))
        trials = [trial(number, {"depth": d}) for number, d in enumerate(self.depths)]
        self.jobs: list[MemberJob] = member_jobs(self.config, trials, tables)
        self.molecules: MoleculeSet = featurise_folds(tables, self.config, *features_of(self.jobs))

    def train(self, db: Database, **options: Any) -> list[MemberRecord]:
        """Train them."""
        study, _ = open_or_create_study(db, self.config.study_name, RECORD)
        home = self.config.study_folder
        return train_members(db, study, self.config, home, self.jobs, self.molecules, **options)

    def now(self) -> list[MemberRecord]:
        """Return them as they stand; none before they are known."""
        if not (self.folder / "studies.db").exists():
            return []
        with open_database(self.config.study.storage) as db:
            study, _ = open_or_create_study(db, self.config.study_name, RECORD)
            return read_members(db, study, [job.key for job in self.jobs])


class Diary:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ticks = 0

    def named(self, name: str) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if type(event).__name__ == name]

    def tick(self) -> None:
        self.ticks += 1

    def members_started(self, event: Any) -> None:
        self.events.append(event)

    member_started = member_epoch = member_ended = members_ended = members_started


def diary_train(
    spec: TrainingSpec, fold: Any, on_epoch: Any, resume_from: Path | None = None
) -> EpochReport | None:
    """Follow the script of ``spec.model.depth`` at some pace, and note each epoch trained."""
    known = [resume_from is not None]

    def then(report: EpochReport, progress: Any) -> bool:
        if known != [True]:
            with Path(os.environ[DIARY]).open("a") as diary:
                diary.write(f"{os.getpid()} {spec.seed} {report.epoch}\n")
            time.sleep(_pace_s())
        known.clear()
        return bool(on_epoch(report, progress))

    return scripted_train(spec, fold, then, resume_from)


def _pace_s() -> float:
    file = os.environ.get(PACE)
    return float(Path(file).read_text()) if file else 0.0


REAL, KILLED_ONCE = 2, 14
"""Scripts of `mixed_train`, beside those of `scripted`."""


def mixed_train(
    spec: TrainingSpec, fold: Any, on_epoch: Any, resume_from: Path | None = None
) -> EpochReport | None:
    """Follow a script, train a real model, or be killed in the third epoch and go on."""
    if spec.model.depth == REAL:
        return train(spec, fold, on_epoch, resume_from)
    mark = Path(os.environ[DIARY] + ".killed")

    def then(report: EpochReport, progress: Any) -> bool:
        if spec.model.depth == KILLED_ONCE and report.epoch == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return bool(on_epoch(report, progress))

    return diary_train(spec, fold, then, resume_from)


def read_diary(folder: Path) -> list[tuple[int, int, int]]:
    """Return process, seed and epoch of all epochs that were trained."""
    path = folder / "diary"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines)]


def main() -> int:
    folder = Path(sys.argv[1])
    members = Members(folder, slow_config(folder))
    try:
        with stopped_by_signals("ended"), open_database(members.config.study.storage) as db:
            members.train(db, train=diary_train)
    except ChempropHpoError as error:
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        return error.exit_code
    return 0


if __name__ == "__main__":
    from tests.hpo.made_members import diary_train  # by its own name, for the workers

    os._exit(main())
