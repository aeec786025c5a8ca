"""Predictors of tiny models that were trained in a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rdkit import Chem

from chemprop_hpo.hpo.chemistry.features.featurising import featurise
from chemprop_hpo.hpo.chemistry.features.molecule_vectors import Filling, molecule_vectors
from chemprop_hpo.hpo.chemistry.training.train import train
from chemprop_hpo.hpo.evaluation.calibration import Calibration
from chemprop_hpo.hpo.predictor.manifest import Configuration, DataFile
from chemprop_hpo.hpo.predictor.writing import MemberContent, PredictorContent
from tests.hpo import trainings

N_TRAIN = 50
CALIBRATION = Calibration(2.0, 0.1, {80: 1.2, 90: 1.6})
"""Without the level of 95, as where there were too few rows."""


def make_fold(n_targets=1, *, features=(), atom_features="V2", seed=0, **changes):
    """Make a fold as features.featurise_fold does, of alkanes and one salt without charges."""
    smiles = [*trainings.SMILES[:68], "[Na+].[Cl-]", "[Fe]"]
    order = np.random.default_rng(seed).permutation(len(smiles))
    molecules = [Chem.MolFromSmiles(smiles[i]) for i in order]
    plain = trainings.make_fold(n_targets, **changes)
    raw = {name: molecule_vectors(molecules, name, smiles) for name in features}
    fillings = {name: Filling.of(values[:N_TRAIN]) for name, values in raw.items()}
    return replace(
        plain,
        graphs={atom_features: featurise(molecules, atom_features)},
        vectors={name: fillings[name].fill(values) for name, values in raw.items()},
        fillings=fillings,
    )


def make_member(folder: Path, fold, *, rank=1, split=0, number=0, weights=(1.0,), **model):
    """Train a model for two epochs."""
    path = folder / f"best_{rank}_{split}_{number}.pt"
    spec = trainings.make_spec(2, model=model, seed=1000 * rank + 10 * split + number)

    def save(_, progress):
        progress.save_best(path)
        return True

    report = train(spec, fold, save)
    return MemberContent(
        model_file=path,
        model=spec.model,
        fillings=fold.fillings,
        rank=rank,
        trial=rank + 10,
        split=split,
        fold=number,
        seed=spec.seed,
        best_epoch=report.best_epoch,
        epochs=report.epoch,
        weights=weights,
    )


def make_content(members, targets, **changes):
    """Describe a predictor of these members."""
    ranks = sorted({member.rank for member in members})
    fields = {
        "task": "regression",
        "targets": targets,
        "smiles_col": "smiles",
        "members": members,
        "configurations": [
            Configuration(rank=rank, trial=rank + 10, params={"depth": 2}) for rank in ranks
        ],
        "calibrations": {target.name: CALIBRATION for target in targets},
        "training_smiles": trainings.SMILES[:N_TRAIN],
        "data": {"train.csv": DataFile(sha256="0" * 64, rows=70)},
        "versions": {"torch": "2"},
        "study": "alkanes",
    }
    return PredictorContent(**fields | changes)
