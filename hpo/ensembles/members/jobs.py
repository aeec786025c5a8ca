"""Say which models an ensemble consists of, and how each is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chemprop_hpo.configs.schema import AtomFeatures, MoleculeFeature, SweepConfig
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables
from chemprop_hpo.hpo.chemistry.training.train import TrainingSpec
from chemprop_hpo.hpo.ensembles.members.origin import present_origin
from chemprop_hpo.storage.members import MemberKey, NewMember
from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["MemberJob", "features_of", "member_jobs", "member_seed"]

LEAST_PATIENCE = 10
"""Epochs without improvement that each member may have, where the configuration gives none."""


@dataclass(frozen=True)
class MemberJob:
    """One model that is to be trained: a trial's configuration on one fold.

    Attributes
    ----------
    key : MemberKey
        Trial, split, fold, and a fingerprint of all that decides what comes out.
    folder : str
        Where it is trained, relative to the study's folder.
    spec : TrainingSpec
    """

    key: MemberKey
    folder: str
    spec: TrainingSpec

    @property
    def entry(self) -> NewMember:
        """What the database is told of it."""
        return NewMember(self.key, self.spec.seed, self.folder, self.spec.max_epochs)


def member_jobs(
    config: SweepConfig,
    trials: Sequence[TrialRecord],
    folds: Mapping[tuple[int, int], FoldTables],
    *,
    as_swept: bool = False,
) -> list[MemberJob]:
    """Return the members of all trials, trial by trial in the order given, fold by fold.

    A member stops by itself after ``optimization.patience`` epochs without improvement; where
    a configuration has none, after a quarter of ``max_epochs``, and ten at least.

    Parameters
    ----------
    config : SweepConfig
        The study's; each trial's hyperparameters take the place of its own.
    trials : sequence of TrialRecord
    folds : mapping of (split, fold) to FoldTables
    as_swept : bool
        Train each as its trial was: with the same seed and schedule, up to its best epoch. On
        the same fold of a CPU that gives the trial's own best weights again. On other code, by
        its git commit, it is another member, and trained anew.
    """
    data = {place: _data_fingerprint(tables) for place, tables in folds.items()}
    return [
        _job(config, trial, split, fold, digest, as_swept)
        for trial in trials
        for (split, fold), digest in data.items()
    ]


def member_seed(seed: int, trial: int, split: int, fold: int) -> int:
    """Return a member's own seed, the same each time, below 2**32."""
    sequence = np.random.SeedSequence([seed % 2**64, trial, split, fold])
    return int(sequence.generate_state(1)[0])


def features_of(
    jobs: Sequence[MemberJob],
) -> tuple[list[AtomFeatures], list[MoleculeFeature]]:
    """Return the atom featurizers and molecule features that members need."""
    models = [job.spec.model for job in jobs]
    vectors = {name for model in models for name in model.molecule_feature_names}
    return sorted({model.atom_features for model in models}), sorted(vectors)


# ----------------------------------------------------------------------------- steps


def _job(
    config: SweepConfig, trial: TrialRecord, split: int, fold: int, data: str, as_swept: bool
) -> MemberJob:
    if as_swept:
        spec = _spec_of_trial(config, trial)
    else:
        spec = _spec(config, trial, member_seed(config.seed, trial.number, split, fold))
    key = MemberKey(trial.number, split, fold, _cut(spec, config, data))
    place = f"split_{split}_fold_{fold}-{key.cut[:8]}"
    return MemberJob(key, f"members/trial_{trial.number:05d}/{place}", spec)


def _spec(config: SweepConfig, trial: TrialRecord, seed: int) -> TrainingSpec:
    spec = _as_configured(config, trial, seed)
    patience = spec.optimization.patience or max(LEAST_PATIENCE, spec.max_epochs // 4)
    patient = spec.optimization.model_copy(update={"patience": patience})
    return replace(spec, optimization=patient)


def _spec_of_trial(config: SweepConfig, trial: TrialRecord) -> TrainingSpec:
    seed = config.seed + trial.number if trial.seed is None else trial.seed
    return replace(_as_configured(config, trial, seed), last_epoch=trial.best_epoch)


def _as_configured(config: SweepConfig, trial: TrialRecord, seed: int) -> TrainingSpec:
    own = config.with_params(dict(trial.params))
    return TrainingSpec(
        model=own.model,
        optimization=own.optimization,
        max_epochs=own.max_epochs,
        seed=seed,
        metric=own.metric,
        mode=own.mode,
        yardstick=config.optimization.criterion,
        device="cuda" if own.resources.gpus_per_trial > 0 else "cpu",
        threads=own.resources.cpus_per_trial,
    )


def _data_fingerprint(tables: FoldTables) -> str:
    digest = hashlib.sha256()
    for part in (tables.train, tables.validation):
        digest.update("\n".join((str(len(part)), *part.smiles)).encode())
        # In float32: another machine may round a transform's last bits differently.
        digest.update(part.targets.astype(np.float32).tobytes())
    return digest.hexdigest()


def _cut(spec: TrainingSpec, config: SweepConfig, data: str) -> str:
    """Return a fingerprint of data and settings: a member is done only if nothing changed."""
    settings: dict[str, Any] = {
        "data": data,
        "targets": [config.task, config.data.target_cols, config.data.weights],
        "model": spec.model.model_dump(mode="json"),
        "optimization": spec.optimization.model_dump(
            mode="json", exclude={"num_workers", "progress_bar", "max_epochs", "seed"}
        ),
        "training": [spec.max_epochs, spec.seed, spec.metric, spec.mode, spec.yardstick],
    }
    if spec.last_epoch is not None:
        origin = present_origin()
        settings["as_swept"] = [spec.last_epoch, origin.commit, origin.dirty]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
