"""Write the predictors: one of each rank, one of all ranks combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate
from chemprop_hpo.hpo.ensembles.configurations.selection import Decision
from chemprop_hpo.hpo.ensembles.results.records import code_of, hyperparameters
from chemprop_hpo.hpo.ensembles.trained import Trained
from chemprop_hpo.hpo.predictor.manifest import Configuration, DataFile, Target
from chemprop_hpo.hpo.predictor.writing import MemberContent, PredictorContent, write_predictor
from chemprop_hpo.hpo.tracking.manifest import package_versions
from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["PredictorWriter"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PredictorWriter:
    """What all predictors of one command have in common.

    Attributes
    ----------
    config : SweepConfig
    decisions : sequence of Decision
        Those that were taken tell the configurations.
    trained : sequence of Trained
        All members.
    training_smiles : sequence of str
    data : mapping
        Fingerprints of all files, by name.
    """

    config: SweepConfig
    decisions: Sequence[Decision]
    trained: Sequence[Trained]
    training_smiles: Sequence[str]
    data: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str | None] = field(default_factory=package_versions)

    def write(
        self, folder: Path, candidate: Candidate, test_scored: Mapping[str, Any] | None
    ) -> None:
        """Write a candidate's predictor; one that stands there gives way."""
        write_predictor(folder, self._content(candidate, test_scored), replace=True)

    def _content(
        self, candidate: Candidate, test_scored: Mapping[str, Any] | None
    ) -> PredictorContent:
        data, shares = self.config.data, candidate.shares
        members = [member for member in self.trained if member.key in shares]
        return PredictorContent(
            task=self.config.task,
            targets=self._targets(),
            smiles_col=data.smiles_col,
            members=[_member(member, shares[member.key]) for member in members],
            configurations=self._configurations(members),
            calibrations=dict(zip(data.target_cols, candidate.calibrations, strict=True)),
            training_smiles=self.training_smiles,
            data={
                name: DataFile(sha256=print_["sha256"], rows=print_["rows"])
                for name, print_ in self.data.items()
            },
            versions=self.versions,
            study=self.config.study_name,
            test_scored=test_scored,
        )

    def _targets(self) -> list[Target]:
        data = self.config.data
        columns = zip(data.target_cols, data.units, data.transforms, strict=True)
        return [Target(name=n, unit=u, transform=t) for n, u, t in columns]

    def _configurations(self, members: Sequence[Trained]) -> list[Configuration]:
        by_rank = {d.rank: d.trial for d in self.decisions if d.rank is not None}
        ranks = {member.rank for member in members}
        return [
            self._configuration(rank, trial, [one for one in members if one.rank == rank])
            for rank, trial in by_rank.items()
            if rank in ranks
        ]

    def _configuration(
        self, rank: int, trial: TrialRecord, models: Sequence[Trained]
    ) -> Configuration:
        params = dict(trial.params)
        own = self.config.with_params(params)
        return Configuration(
            rank=rank,
            trial=trial.number,
            params=params,
            hyperparameters=hyperparameters(self.config, params),
            metric=own.metric,
            max_epochs=own.max_epochs,
            **code_of(models),
        )


def _member(member: Trained, weights: Float64) -> MemberContent:
    record = member.record
    assert record.best_epoch is not None  # of every complete member
    return MemberContent(
        model_file=member.file,
        model=member.model,
        fillings=member.fillings,
        rank=member.rank,
        trial=record.key.trial,
        split=record.key.split,
        fold=record.key.fold,
        seed=record.seed,
        best_epoch=record.best_epoch,
        epochs=record.epoch,
        weights=[float(weight) for weight in weights],
    )
