"""A classification over Ray, from the sweep to classes of new molecules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.members import training as members_training
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.predictor import load_ensemble
from tests.hpo.commands.ended import Done, manifest
from tests.hpo.commands.shell import Shell
from tests.hpo.ensembles.small_studies import (
    molecules,
    write_table,
)

CLASSES = """\
task: classification
data: {file: molecules.csv, target_cols: [size, polar]}
split: {method: random, test_fraction: 0.2, n_folds: 2}
model: {message_hidden_dim: 16, hidden_dim: 16, depth: 2}
optimization: {batch_size: 8, max_epochs: 3, warmup_epochs: 1}
search_space:
  max_lr: {type: loguniform, low: 1.0e-3, high: 1.0e-1}
num_samples: 2
scheduler: {type: none, max_t: 3}
resources: {max_concurrent_trials: 2}
transfer_learning: {enabled: true, top_k: 2}
study: {name: classes}
mlflow: {tracking: false}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Of a sweep, run as a user runs it, that goes on to ensembles of its two best trials."""
    folder = tmp_path_factory.mktemp("classes")
    write_table(folder / "molecules.csv", molecules(), missing=range(0, 60, 7), classes=True)
    (folder / "sweep.yaml").write_text(CLASSES)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chemprop-hpo")), "sweep", "sweep.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return Done(folder, done.returncode, done.stdout, done.stderr)


def models_of(swept: Done) -> Path:
    return swept.folder / "studies" / "classes" / "ensembles"


@pytest.mark.timeout(600)
def test_a_sweep_with_transfer_learning_goes_on_to_ensembles(swept: Done) -> None:
    assert swept.code == 0, swept.err
    assert "2 complete" in swept.out
    assert "training 4 models of at most 3 epochs, 2 at a time" in swept.err
    models = models_of(swept)
    assert {"rank_1", "rank_2", "combined", "report.html", "plots", "figures.csv"} <= {
        path.name for path in models.iterdir()
    }
    assert "ROC-AUC on test rows, of the combination with its 95 % interval" in swept.out
    assert "chemprop-hpo predict --ensemble studies/classes/ensembles" in swept.out
    for rank in ("rank_1", "rank_2"):
        written = manifest(models / rank)
        assert (len(written["members"]), written["task"]) == (2, "classification")
        assert written["calibration"] == {"size": None, "polar": None}
        assert written["test_scored"]["rows"] == 12


@pytest.mark.timeout(600)
def test_figures_of_a_classification_are_areas_with_intervals(swept: Done) -> None:
    figures = pd.read_csv(models_of(swept) / "figures.csv")
    assert set(figures["figure"]) == {
        "roc_auc",
        "prc_auc",
        "brier",
        "log_loss",
        "macro_roc_auc",
    }
    areas = figures[figures["figure"].isin(["roc_auc", "prc_auc"])]
    assert len(areas) == 4 * 2 * 2 * 2  # candidates, targets, parts, areas
    assert areas[["value", "low_95", "high_95"]].notna().all(axis=None)
    assert ((areas["low_95"] <= areas["value"]) & (areas["value"] <= areas["high_95"])).all()
    assert areas[["value", "low_95", "high_95"]].stack().between(0, 1).all()
    assert (areas["low_95"] < areas["high_95"]).any()


@pytest.mark.timeout(600)
def test_labels_that_are_missing_stay_so(swept: Done) -> None:
    shown = pd.read_csv(models_of(swept) / "out_of_fold.csv")
    written = pd.read_csv(swept.folder / "molecules.csv").set_index("smiles")
    assert len(shown) == 48
    missing = shown["polar"].isna()
    assert 0 < missing.sum() < 12
    assert missing.tolist() == written.loc[shown["smiles"], "polar"].isna().tolist()
    assert shown["polar_mean"].between(0, 1).all()
    assert shown["size_mean_rank_1"].between(0, 1).all()


@pytest.mark.timeout(600)
def test_the_classes_of_new_molecules_are_predicted(swept: Done, shell: Shell) -> None:
    Path("new.csv").write_text("smiles\nCCCO\nCCCCCCCCCCCCCCCO\nwrong\n")
    models = str(models_of(swept))
    assert shell("predict", "--ensemble", models, "new.csv", "-o", "out.csv") == 0
    shown = pd.read_csv("out.csv")
    assert shown["size_mean"][:2].between(0, 1).all()
    assert not any("low" in column for column in shown.columns)
    said = load_ensemble(models_of(swept) / "combined").predict(["CCCO"])
    assert said["polar_mean"][0] == pytest.approx(shown["polar_mean"][0], rel=1e-4)


@pytest.mark.timeout(600)
def test_the_command_finds_the_members_that_the_sweep_trained(
    swept: Done, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(members_training, "connected")
    monkeypatch.setattr(judging, "MOST_RESAMPLES", 20)
    monkeypatch.setattr(writing, "write_report", lambda *_: None)
    monkeypatch.chdir(swept.folder)
    assert shell("ensembles", "--top-k", "2", "-o", "again") == 0, shell.err
    assert "training" not in shell.err
    first, second = (manifest(folder / "rank_2") for folder in (models_of(swept), Path("again")))
    assert first["members"] == second["members"]
