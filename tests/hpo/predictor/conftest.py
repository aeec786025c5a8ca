"""Members that are trained once for all tests."""

from __future__ import annotations

import pytest

from chemprop_hpo.hpo.predictor.manifest import Target
from chemprop_hpo.hpo.predictor.writing import write_predictor
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member

TARGETS = (Target(name="carbons", unit="C"), Target(name="oxygens", transform="log10p1"))


@pytest.fixture(scope="session")
def members(tmp_path_factory):
    """Three members for two targets: another head, other atoms and molecule features each."""
    folder = tmp_path_factory.mktemp("study")
    features = ("charge", "rdkit_2d")
    plain, described = make_fold(2, atom_features="RIGR"), make_fold(2, features=features, seed=1)
    return [
        make_member(folder, plain, weights=(0.5, 0.0), atom_features="RIGR"),
        make_member(
            folder,
            described,
            number=1,
            weights=(0.25, 0.4),
            ffn_type="branched",
            molecule_features="rdkit_2d+charge",
        ),
        make_member(
            folder,
            described,
            rank=2,
            weights=(0.25, 0.6),
            ffn_type="mixture_of_experts",
            molecule_features="charge",
        ),
    ]


@pytest.fixture(scope="session")
def two_targets(members, tmp_path_factory):
    """A predictor of the three members."""
    folder = tmp_path_factory.mktemp("ensembles") / "combined"
    write_predictor(folder, make_content(members, TARGETS))
    return folder


@pytest.fixture(scope="session")
def small(members, tmp_path_factory):
    """Content of one plain member for two targets, to be written."""
    folder = tmp_path_factory.mktemp("small")
    member = make_member(folder, make_fold(2), weights=(1.0, 1.0))
    return make_content([member], TARGETS)
