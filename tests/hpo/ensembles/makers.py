"""Ensembles out of a study, whose members are trained here and not over Ray."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemprop_hpo.configs.load import LoadedSweep
from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.ensembles.run import EnsembleResult, make_ensembles
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.ensembles import EnsembleRecord, list_ensembles
from chemprop_hpo.storage.studies import open_study
from tests.hpo.ensembles.small_studies import (
    TrainedHere,
)

BLIND = ["CCCCO", "nonsense", "CC(C)CN"]


@dataclass
class Made:
    """What one call made."""

    loaded: LoadedSweep
    result: EnsembleResult
    training: TrainedHere
    pictures: list[str]

    @property
    def folder(self) -> Path:
        return self.result.folder

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / name)

    def manifest(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name / "manifest.json").read_text())
        return found

    def ranks_with_weight(self) -> list[int]:
        """Return the ranks that the combination uses, for any target."""
        units = [
            int(name.split(",")[0].split()[1]) for name in self.result.content.combinations[0].units
        ]
        weights = np.max([one.weights for one in self.result.content.combinations], axis=0)
        return [rank for rank, weight in zip(units, weights, strict=True) if weight]

    def remembered(self) -> list[EnsembleRecord]:
        config = self.loaded.config
        with open_database(config.study.storage) as db:
            return list_ensembles(db, open_study(db, config.study_name))


def make(
    loaded: LoadedSweep,
    k: int = 2,
    *,
    failing: Collection[tuple[int, int, int]] = (),
    drawn: bool = False,
    **wanted: Any,
) -> Made:
    training = TrainedHere(failing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "train_members", training)
        if not drawn:
            patch.setattr(writing, "write_report", lambda *_: None)
        result = make_ensembles(loaded, Request(Choice(k), **wanted))
    pictures = [path.name for path in (result.folder / "plots").glob("*.png")]
    return Made(loaded, result, training, pictures)
