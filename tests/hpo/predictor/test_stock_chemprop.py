"""Chemprop's own command reads each member."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from chemprop_hpo.configs.schema import AtomFeatures
from chemprop_hpo.hpo.predictor import load_ensemble, write_predictor
from tests.hpo.predictor.conftest import TARGETS
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member

MOLECULES = ["CCO", "OCCCN", "ClCCCCCC", "CC(C)CCCO"]
HEADS = ("regression", "branched", "mixture_of_experts")
CHEMPROP = Path(sys.executable).with_name("chemprop")


# Most of the time goes into starting: one process for several command lines.
MANY = """
import json, sys
from chemprop.cli.main import main
for line in sys.stdin:
    sys.argv = json.loads(line)
    main()
"""


def written(folder, members):
    """Write a predictor; return the ensemble, and the files of its members."""
    write_predictor(folder, make_content(members, TARGETS))
    ensemble = load_ensemble(folder)
    return ensemble, [str(folder / member.file) for member in ensemble.manifest.members]


def predict(models, output, *options):
    """Return the command line."""
    return ["chemprop", "predict", "--test-path", "in.csv", "-o", output, "--accelerator", "cpu",
            *options, "--model-path", *models]  # fmt: skip


def run(program, folder, text=None):
    pd.DataFrame({"smiles": MOLECULES}).to_csv(folder / "in.csv", index=False)
    done = subprocess.run(
        program, input=text, capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr


def test_chemprops_own_program_predicts_what_each_member_says(tmp_path):
    fold = make_fold(2, features=("morgan_binary",))
    described = {"molecule_features": "morgan_binary", "weights": (1 / 3, 1 / 3)}
    members = [
        make_member(tmp_path, fold, rank=rank, ffn_type=head, **described)
        for rank, head in enumerate(HEADS, 1)
    ]
    ensemble, models = written(tmp_path / "predictor", members)
    _, *arguments = predict(models, "out.csv", "--molecule-featurizers", "morgan_binary")
    run([CHEMPROP, *arguments], tmp_path)
    theirs = pd.read_csv(tmp_path / "out_individual.csv")
    for i, ours in enumerate(ensemble.member_outputs(MOLECULES)):
        columns = [f"carbons_model_{i}", f"oxygens_model_{i}"]
        np.testing.assert_allclose(theirs[columns], ours, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def by_mode(tmp_path_factory):
    """For each mode of the atom features, what a member says here and what Chemprop predicts."""
    folder, ours, lines = tmp_path_factory.mktemp("modes"), {}, []
    for mode in get_args(AtomFeatures):
        fold = make_fold(2, atom_features=mode)
        member = make_member(folder, fold, weights=(1.0, 1.0), atom_features=mode)
        ensemble, models = written(folder / mode, [member])
        (ours[mode],) = ensemble.member_outputs(MOLECULES)
        lines.append(predict(models, f"{mode}.csv", "--multi-hot-atom-featurizer-mode", mode))
    run([sys.executable, "-c", MANY], folder, "\n".join(map(json.dumps, lines)))
    return {mode: (said, pd.read_csv(folder / f"{mode}.csv")) for mode, said in ours.items()}


@pytest.mark.parametrize("mode", get_args(AtomFeatures))
def test_chemprops_own_program_is_told_the_atom_features(by_mode, mode):
    ours, theirs = by_mode[mode]
    np.testing.assert_allclose(theirs[["carbons", "oxygens"]], ours, rtol=1e-4, atol=1e-5)
