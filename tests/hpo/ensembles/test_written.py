"""What ensembles write, and what the database remembers of them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.predictor import load_ensemble
from tests.hpo.ensembles.makers import Made

pytestmark = pytest.mark.usefixtures("quick")


def test_the_folder_holds_predictors_tables_and_a_report(made: Made) -> None:
    assert made.folder == made.loaded.config.study_folder / "ensembles"
    assert sorted(path.name for path in made.folder.iterdir()) == [
        ".lock",
        "blind_predictions.csv",
        "combined",
        "figures.csv",
        "out_of_fold.csv",
        "plots",
        "rank_1",
        "rank_2",
        "records.json",
        "report.html",
        "test_predictions.csv",
    ]
    models = {
        name: sorted(path.name for path in (made.folder / name / "models").iterdir())
        for name in ("rank_1", "rank_2", "combined")
    }
    assert models["rank_2"] == ["rank_2_split_0_fold_0.pt", "rank_2_split_0_fold_1.pt"]
    with_weight = made.ranks_with_weight()
    assert models["combined"] == [file for rank in with_weight for file in models[f"rank_{rank}"]]
    assert any(name.startswith("parity") for name in made.pictures)
    assert "Ensembles of study small" in (made.folder / "report.html").read_text()


def test_members_are_trained_rank_by_rank(made: Made) -> None:
    assert made.training.trained == [(1, 0, 0), (1, 0, 1), (0, 0, 0), (0, 0, 1)]
    assert made.result.failed == []


def test_the_manifest_names_configurations_seeds_data_and_the_scoring_of_test_rows(
    made: Made,
) -> None:
    manifest = made.manifest("combined")
    assert manifest["study"] == "small"
    assert manifest["targets"] == [
        {"name": "size", "unit": "µM", "transform": "log10p1"},
        {"name": "polar", "unit": "", "transform": "none"},
    ]
    configurations = {1: (1, {"max_lr": 0.01}), 2: (0, {"max_lr": 0.02})}
    shown = {c["rank"]: (c["trial"], c["params"]) for c in manifest["configurations"]}
    assert shown == {rank: configurations[rank] for rank in made.ranks_with_weight()}
    assert np.sum([m["weights"] for m in manifest["members"]], axis=0) == pytest.approx(1.0)
    assert manifest["data"].keys() == {"file", "blind_file"}
    assert manifest["data"]["file"]["rows"] == 60
    assert manifest["versions"]["chemprop"]
    scored = manifest["test_scored"]
    assert (scored["file"], scored["rows"]) == ("molecules.csv", 12)
    assert scored["after"] == "the configurations were fixed and all members trained"
    seeds = set()
    for rank in (1, 2):
        manifest = made.manifest(f"rank_{rank}")
        assert manifest["test_scored"] == scored
        (shown,) = manifest["configurations"]
        assert (shown["trial"], shown["params"]) == configurations[rank]
        assert {tuple(m["weights"]) for m in manifest["members"]} == {(0.5, 0.5)}
        seeds |= {member["seed"] for member in manifest["members"]}
    assert len(seeds) == 4


def test_the_manifest_says_all_that_a_training_was_given_and_its_code(made: Made) -> None:
    config = made.loaded.config
    records = json.loads((made.folder / "records.json").read_text())
    for rank, rate in ((1, 0.01), (2, 0.02)):
        (configuration,) = made.manifest(f"rank_{rank}")["configurations"]
        given = configuration["hyperparameters"]
        assert (given["max_lr"], given["depth"], given["batch_size"]) == (rate, 2, 8)
        assert (given["criterion"], given["atom_features"]) == ("MSE", "V2")
        assert configuration["metric"] == config.metric
        assert configuration["max_epochs"] == 3
        origin = records[f"rank_{rank}"]["provenance"]
        assert given == origin["hyperparameters"]
        for name in ("git_commit", "dirty"):
            assert configuration[name] == origin[name]


def test_every_training_row_is_predicted_by_the_model_that_left_it_out(made: Made) -> None:
    config = made.loaded.config
    folds = read_folds(config, fold_list(config))
    shown = made.table("out_of_fold.csv")
    assert len(shown) == 48
    assert not shown["size_mean"].isna().any()
    manifest = made.manifest("rank_1")
    for fold in (0, 1):
        (member,) = [m for m in manifest["members"] if m["fold"] == fold]
        # A predictor of this member alone, as any user's: its numbers are those of the table.
        alone = one_member(made, "rank_1", member["file"])
        tables = folds[0, fold]
        rows = shown[shown["fold_split_0"] == fold]
        assert set(rows["smiles"]) == set(tables.validation.smiles)
        assert set(rows["smiles"]).isdisjoint(tables.train.smiles)
        said = alone.predict(rows["smiles"].tolist())
        for target in ("size", "polar"):
            assert said[f"{target}_mean"].to_numpy() == pytest.approx(
                rows[f"{target}_mean_rank_1"].to_numpy(), rel=1e-3
            )


def one_member(made: Made, name: str, file: str) -> Any:
    """Load a predictor that holds one member of another."""
    folder = made.folder.parent / f"alone_{Path(file).stem}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.folder / name, folder)
    manifest = made.manifest(name)
    manifest["members"] = [
        m | {"weights": [1.0, 1.0]} for m in manifest["members"] if m["file"] == file
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load_ensemble(folder)


def test_test_predictions_are_what_the_predictors_say(made: Made) -> None:
    shown = made.table("test_predictions.csv")
    assert len(shown) == 12
    for name, suffix in (("combined", ""), ("rank_2", "_rank_2")):
        said = load_ensemble(made.folder / name).predict(shown["smiles"].tolist())
        for target in ("size", "polar"):
            assert said[f"{target}_mean"].to_numpy() == pytest.approx(
                shown[f"{target}_mean{suffix}"].to_numpy(), rel=1e-3
            )
        assert said["polar_std"].to_numpy() == pytest.approx(
            shown[f"polar_std{suffix}"].to_numpy(), rel=1e-3, abs=1e-6
        )
    assert said["similarity"].to_numpy() == pytest.approx(shown["similarity"].to_numpy(), abs=1e-4)
    source = (made.folder.parents[1] / "molecules.csv").read_text().splitlines()
    assert [source[row - 1].split(",")[0] for row in shown["row"]] == shown["smiles"].tolist()


def test_figures_are_those_of_the_tables(made: Made) -> None:
    figures = made.table("figures.csv").set_index(["ensemble", "target", "part", "units", "figure"])
    for file, part in (("out_of_fold.csv", "out_of_fold"), ("test_predictions.csv", "test")):
        shown = made.table(file).dropna(subset=["polar"])
        errors = shown["polar_mean"] - shown["polar"]
        found = figures.loc["combined", "polar", part, "original", "rmse"]
        assert found["value"] == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-3)
        assert found["low_95"] <= found["value"] <= found["high_95"]
        shown = made.table(file)
        logs = np.log10(1 + shown[["size_mean_rank_1", "size"]].to_numpy())
        found = figures.loc["rank 1", "size", part, "transformed", "mae"]
        assert found["value"] == pytest.approx(np.abs(logs[:, 0] - logs[:, 1]).mean(), rel=1e-2)


def test_rows_without_a_label_of_a_target_are_predicted_and_not_judged(made: Made) -> None:
    shown = made.table("out_of_fold.csv")
    unlabelled = shown["polar"].isna()
    assert 0 < unlabelled.sum() < 10
    assert shown["polar_mean"].notna().all()
    judged = made.result.content.ensembles[-1].targets[1].out_of_fold
    assert judged is not None
    assert judged.n == 48 - unlabelled.sum()


def test_blind_rows_are_predicted_and_never_scored(made: Made) -> None:
    shown = made.table("blind_predictions.csv")
    assert shown["id"].tolist() == [0, 1, 2]
    assert shown["valid"].tolist() == [True, False, True]
    assert shown["size_mean"].notna().tolist() == [True, False, True]


def test_the_database_remembers_choices_and_finite_figures(made: Made) -> None:
    (remembered,) = made.remembered()
    assert remembered.folder == str(made.folder)
    record = remembered.record
    json.dumps(record, allow_nan=False)
    assert record["trials"] == {"1": 1, "2": 0}
    assert (record["members"], record["failed"]) == (4, 0)
    assert record["used"].keys() == {"size", "polar"}
    assert list(record["figures"]) == ["single best", "rank 1", "rank 2", "combined"]
    rmse = record["figures"]["combined"]["polar/test"]["rmse"]
    judged = made.result.content.ensembles[-1].targets[1].test
    assert judged is not None
    assert rmse == judged.figures["rmse"].value


def test_the_report_s_content_tells_decisions_members_and_weights(made: Made) -> None:
    content = made.result.content
    assert [(d.rank, d.trial, d.taken) for d in content.decisions] == [(1, 1, True), (2, 0, True)]
    assert [(m.rank, m.trial, m.fold) for m in content.members] == [
        (1, 1, 0),
        (1, 1, 1),
        (2, 0, 0),
        (2, 0, 1),
    ]
    assert all(len(m.curve) == m.epochs == 3 for m in content.members)
    assert content.combinations[0].units == ("rank 1, split 0", "rank 2, split 0")
    assert content.ensembles[0].macro_out_of_fold is None
    assert content.ensembles[-1].macro_out_of_fold is not None
    assert content.ensembles[0].macro_test is not None
    folds = content.ensembles[-1].targets[0].by_fold
    assert [(one.split, one.fold) for one in folds] == [(0, 0), (0, 1)]
    assert sum(one.n for one in folds) == 48
