"""What a dry run finds out, piece by piece."""

from __future__ import annotations

from typing import Any

from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.plan import featurizers


def config_of(**sections: Any) -> SweepConfig:
    data = {"file": "x.csv", "target_cols": ["y"]}
    return SweepConfig.model_validate({"data": data, **sections})


def test_features_of_every_branch_and_of_the_base_are_made() -> None:
    config = config_of(
        model={"molecule_features": "rdkit_2d", "atom_features": "V2"},
        base=False,
        search_space={
            "depth": {"type": "choice", "choices": [2, 3]},
            "molecule_features": {
                "type": "choice",
                "choices": ["none", "morgan_binary+charge"],
                "condition": "depth == 3",
            },
            "atom_features": {"type": "choice", "choices": ["V1", "RIGR"]},
        },
    )
    atoms, vectors = featurizers(config)
    assert set(atoms) == {"V1", "RIGR"}
    assert set(vectors) == {"rdkit_2d", "morgan_binary", "charge"}


def test_only_the_base_features_are_made_where_nothing_is_searched() -> None:
    atoms, vectors = featurizers(config_of())
    assert (list(atoms), list(vectors)) == (["V2"], [])
