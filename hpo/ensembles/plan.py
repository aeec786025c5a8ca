"""Settle what is to be trained, before anything is: configurations, folds and test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, Table
from chemprop_hpo.hpo.chemistry.tables.data_files import file_fingerprints
from chemprop_hpo.hpo.chemistry.tables.folds import (
    FoldPlace,
    fold_list,
    folding_note,
    own_place,
    read_folds,
)
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import TrainingRows, training_rows
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice, choose
from chemprop_hpo.hpo.ensembles.configurations.selection import Decision
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob, member_jobs
from chemprop_hpo.hpo.ensembles.test_rows import read_test_rows
from chemprop_hpo.hpo.predictor.frames import column_names
from chemprop_hpo.hpo.predictor.streaming import require_room
from chemprop_hpo.hpo.predictor.tables import open_table
from chemprop_hpo.storage.member_records import MemberKey
from chemprop_hpo.storage.studies import Study

__all__ = ["EnsemblePlan", "Request", "plan_ensembles"]


@dataclass(frozen=True)
class Request:
    """What is wanted of a study.

    Attributes
    ----------
    choice : Choice
        Which configurations.
    splits, folds : tuple of int, optional
        What to train each on; all if not given.
    output : Path, optional
        Where the predictors go; ``ensembles`` in the study's folder if not given.
    accept_changed_data : bool
        Train although data files are not those of the study.
    retry_failed : bool
        Train models that failed before once more.
    as_swept : bool
        Train each configuration once, as the sweep did: on its fold, with its seed and schedule,
        up to its best epoch. ``splits`` and ``folds`` are not looked at.
    force : bool
        Ensembles of the study that stand in ``output`` give way also where they are of other
        trials, splits or folds.
    """

    choice: Choice = field(default_factory=Choice)
    splits: tuple[int, ...] | None = None
    folds: tuple[int, ...] | None = None
    output: Path | None = None
    accept_changed_data: bool = False
    retry_failed: bool = False
    as_swept: bool = False
    force: bool = False


@dataclass(frozen=True, eq=False)
class EnsemblePlan:
    """What is trained on what, all of it checked.

    Attributes
    ----------
    decisions : list of Decision
    jobs : list of MemberJob
        The members, rank by rank.
    folds : mapping of (split, fold) to FoldTables
    rows : TrainingRows
        Of all folds together.
    test : Table or None
    notes, warnings : tuple of str
    data : mapping
        Fingerprints of all files that are read, by name.
    """

    decisions: list[Decision]
    jobs: list[MemberJob]
    folds: Mapping[tuple[int, int], FoldTables]
    rows: TrainingRows
    test: Table | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    data: Mapping[str, Mapping[str, Any]]

    @property
    def ranks(self) -> dict[int, int]:
        """The rank of each trial that was taken, by its number."""
        return {d.trial.number: d.rank for d in self.decisions if d.rank is not None}

    @property
    def keys(self) -> list[MemberKey]:
        """The keys of all members, rank by rank."""
        return [job.key for job in self.jobs]


def plan_ensembles(
    study: Study, config: SweepConfig, request: Request, own: FoldTables
) -> EnsemblePlan:
    """Choose the configurations and read all folds; nothing is stored.

    Parameters
    ----------
    study : Study
    config : SweepConfig
    request : Request
    own : FoldTables
        The sweep's own fold, on which the configurations were compared.

    Raises
    ------
    UsageError
        If the study has too few complete trials, or there is no such split or fold.
    DataError
        If the data are wrong, with a line for each problem.
    """
    _check_blind_file(config)
    decisions = choose(study, config, own, request.choice)
    places = _places(config, request)
    folds = read_folds(config, places) if places else {_own_key(config): own}
    rows = training_rows(list(folds.values()))
    # The sweep's own fold has chosen the configurations, also where none is trained on it.
    seen = training_rows([own, *folds.values()])
    test, warning = read_test_rows(config, next(iter(folds.values())), seen)
    note = folding_note(config) if len(folds) > 1 else None
    trials = [decision.trial for decision in decisions if decision.taken]
    return EnsemblePlan(
        decisions=decisions,
        jobs=member_jobs(config, trials, folds, as_swept=request.as_swept),
        folds=folds,
        rows=rows,
        test=test,
        notes=(note,) if note else (),
        warnings=(warning,) if warning else (),
        data=_fingerprints(config, places or [own_place(config)]),
    )


def _check_blind_file(config: SweepConfig) -> None:
    """Find out now, not after hours of training, whether its molecules can be predicted."""
    data = config.data
    if data.blind_file is not None:
        with open_table(data.blind_file, data.smiles_col) as table:
            require_room(table, column_names(data.target_cols, config.task))


def _own_key(config: SweepConfig) -> tuple[int, int]:
    place = own_place(config)
    return place.split, place.fold


def _places(config: SweepConfig, request: Request) -> Sequence[FoldPlace]:
    """Return the folds to train on, or none for the sweep's own, as the sweep itself cut it."""
    if request.as_swept:
        return []
    wanted = config.transfer_learning
    splits = request.splits if request.splits is not None else wanted.ensemble_splits
    folds = request.folds if request.folds is not None else wanted.ensemble_folds
    if splits is None and folds is None and not wanted.train_full_cv:
        return []
    return fold_list(config, splits, folds)


def _fingerprints(config: SweepConfig, places: Sequence[FoldPlace]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for place in places:
        if place.folder is None:
            return dict(file_fingerprints(config))
        data = config.data.model_copy(update={"data_dir": place.folder})
        prints = file_fingerprints(config.model_copy(update={"data": data}))
        inside = ("train", "validation")
        prefix = f"split_{place.split}/fold_{place.fold}/"
        found |= {(prefix + n if n in inside else n): print_ for n, print_ in prints.items()}
    return found
