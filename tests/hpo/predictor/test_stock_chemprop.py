"""Chemprop's own command reads each member."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from chemprop_hpo.hpo.predictor import load_ensemble, write_predictor
from tests.hpo.predictor.conftest import TARGETS
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member

MOLECULES = ["CCO", "OCCCN", "ClCCCCCC", "CC(C)CCCO"]
HEADS = ("regression", "branched", "mixture_of_experts")
CHEMPROP = Path(sys.executable).with_name("chemprop")


def test_chemprops_own_program_predicts_what_each_member_says(tmp_path):
    fold = make_fold(2, features=("morgan_binary",))
    described = {"molecule_features": "morgan_binary", "weights": (1 / 3, 1 / 3)}
    members = [
        make_member(tmp_path, fold, rank=rank, ffn_type=head, **described)
        for rank, head in enumerate(HEADS, 1)
    ]
    write_predictor(tmp_path / "predictor", make_content(members, TARGETS))
    ensemble = load_ensemble(tmp_path / "predictor")
    models = [ensemble.folder / member.file for member in ensemble.manifest.members]
    pd.DataFrame({"smiles": MOLECULES}).to_csv(tmp_path / "in.csv", index=False)
    done = subprocess.run(
        [CHEMPROP, "predict", "--test-path", "in.csv", "-o", "out.csv", "--accelerator", "cpu",
         "--molecule-featurizers", "morgan_binary", "--model-path", *models],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = pd.read_csv(tmp_path / "out_individual.csv")
    for i, ours in enumerate(ensemble.member_outputs(MOLECULES)):
        columns = [f"carbons_model_{i}", f"oxygens_model_{i}"]
        np.testing.assert_allclose(theirs[columns], ours, rtol=1e-4, atol=1e-5)
