"""The models of an ensemble after their training, and what they say of molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.configs.schema import ModelConfig, MoleculeFeature
from chemprop_hpo.hpo.chemistry.features.batches import Batches
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.features.molecule_set import MoleculeSet
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling
from chemprop_hpo.hpo.chemistry.models.checkpoints import CheckpointError
from chemprop_hpo.hpo.chemistry.models.fast_sums import quicken
from chemprop_hpo.hpo.chemistry.models.model import load_model
from chemprop_hpo.hpo.chemistry.training.fitting import predict
from chemprop_hpo.hpo.ensembles.combining.combination import MemberKey
from chemprop_hpo.hpo.ensembles.combining.out_of_fold import OutOfFold, out_of_fold
from chemprop_hpo.hpo.ensembles.plan import EnsemblePlan
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from chemprop_hpo.storage.member_records import MemberRecord

__all__ = ["Trained", "gather", "training_molecules"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trained:
    """A member that was trained to its end.

    Attributes
    ----------
    rank : int
        Which of the chosen configurations it has, from 1.
    record : MemberRecord
        What the database says of its training.
    model : ModelConfig
        What it was trained as.
    file : Path
        Its best weights, in Chemprop's own format.
    fillings : mapping
        Of the fold that it was trained on: ``Fold.fillings``.
    """

    rank: int
    record: MemberRecord
    model: ModelConfig
    file: Path
    fillings: Mapping[MoleculeFeature, Filling]

    @property
    def key(self) -> MemberKey:
        """Rank, split and fold."""
        return self.rank, self.record.key.split, self.record.key.fold


def gather(
    plan: EnsemblePlan, home: Path, molecules: MoleculeSet, records: Sequence[MemberRecord]
) -> tuple[list[Trained], OutOfFold]:
    """Collect the members that were trained to their end, and what they say of left-out rows.

    Parameters
    ----------
    plan : EnsemblePlan
    home : Path
        The study's folder.
    molecules : MoleculeSet
        That they were trained on.
    records : sequence of MemberRecord
        All members; those that failed are passed over.

    Returns
    -------
    list of Trained
        By rank, split and fold.
    OutOfFold

    Raises
    ------
    SweepFailedError
        If there is a rank without any.
    """
    trained: list[Trained] = []
    outputs: dict[MemberKey, Float64] = {}
    for place in plan.folds:
        fold = molecules.fold(*place)
        here = [r for r in records if r.state == "complete" and (r.key.split, r.key.fold) == place]
        members = [_trained(plan, home, record, fold) for record in here]
        outputs |= {member.key: _outputs(fold, member) for member in members}
        trained += members
    _require_all_ranks(plan, trained, records)
    held_out = out_of_fold(plan.rows, plan.folds, outputs)
    return sorted(trained, key=lambda member: member.key), held_out


def training_molecules(plan: EnsemblePlan, trained: Sequence[Trained]) -> list[str]:
    """Return the canonical SMILES of all molecules that any member was trained on, sorted.

    Molecules that only validated are not among them.
    """
    places = {member.key[1:] for member in trained}
    return sorted({name for place in places for name in plan.folds[place].train.canonical})


def _trained(plan: EnsemblePlan, home: Path, record: MemberRecord, fold: Fold) -> Trained:
    spec = next(job.spec for job in plan.jobs if job.key == record.key)
    file = TrialFolder(home / record.folder).best_model
    return Trained(plan.ranks[record.key.trial], record, spec.model, file, fold.fillings)


def _outputs(fold: Fold, member: Trained) -> Float64:
    """Return what a member says of its fold's validation molecules, shape (m, t)."""
    try:
        model = quicken(load_model(member.file))
    except CheckpointError as problem:
        raise CheckpointError(
            f"{problem}; remove the file, and the same command trains this model anew"
        ) from problem
    outputs = predict(model, Batches(fold, member.model), fold.validation)
    if fold.task != "classification":
        return outputs
    probabilities: Float64 = expit(outputs)
    return probabilities


def _require_all_ranks(
    plan: EnsemblePlan, trained: Sequence[Trained], records: Sequence[MemberRecord]
) -> None:
    there = {member.rank for member in trained}
    for trial, rank in plan.ranks.items():
        if rank not in there:
            why = next((r.reason for r in records if r.key.trial == trial), "unknown")
            raise SweepFailedError(
                f"rank {rank}: no model with the configuration of trial {trial} could be trained "
                f"({why}); --retry-failed trains them once more, other --folds or another "
                "--select may do without"
            )
