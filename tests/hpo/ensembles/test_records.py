"""What a registry is told of each predictor, held against what the command wrote of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.ensembles.run import make_ensembles
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.members import read_members
from chemprop_hpo.storage.studies import open_study
from tests.hpo.ensembles.small_studies import TrainedHere, small_sweep, stored_study


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MOST_RESAMPLES", 20)
        patch.setattr(run, "train_members", TrainedHere())
        patch.setattr(writing, "write_report", lambda *_: None)
        yield


def made(folder: Path, k: int = 2, *, as_swept: bool = False, **sections: Any) -> Path:
    loaded = stored_study(folder, [0.3, 0.2], **sections)
    return make_ensembles(loaded, Request(Choice(k), as_swept=as_swept)).folder


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "records.json").read_text())
    return found


@pytest.fixture(scope="module")
def two_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("two"))


def test_each_predictor_has_a_record_that_is_bound_to_it(two_targets: Path) -> None:
    found = records(two_targets)
    assert list(found) == ["rank_1", "rank_2", "combined"]
    for name, record in found.items():
        manifest = (two_targets / name / "manifest.json").read_bytes()
        assert record["manifest"] == hashlib.sha256(manifest).hexdigest()
        assert (record["kind"], record["completed"]) == ("ensemble", True)


@pytest.mark.parametrize(("name", "shown"), [("rank_1", "rank 1"), ("combined", "combined")])
def test_test_figures_are_those_of_the_table(two_targets: Path, name: str, shown: str) -> None:
    metrics = records(two_targets)[name]["metrics"]
    table = pd.read_csv(two_targets / "figures.csv")
    table = table[(table.ensemble == shown) & (table.part == "test")]
    for target in ("size", "polar"):
        of_target = table[table.target == target].set_index(["units", "figure"]).value
        for figure in ("rmse", "mae", "r2"):
            value = metrics[f"test_{figure}/{target}"]
            assert value == pytest.approx(of_target["original", figure], rel=1e-4)
    transformed = table[(table.target == "size") & (table.units == "transformed")]
    rmse = float(transformed[transformed.figure == "rmse"].value.iloc[0])
    assert metrics["test_transformed_rmse/size"] == pytest.approx(rmse, rel=1e-4)


def test_several_targets_are_judged_in_standard_deviations_of_their_training_labels(
    two_targets: Path,
) -> None:
    record = records(two_targets)["combined"]
    size, polar = record["targets"]
    assert (size["name"], size["transform"], polar["transform"]) == ("size", "log10p1", "none")
    shares = [
        record["metrics"]["test_transformed_rmse/size"] / size["label_std"],
        record["metrics"]["test_rmse/polar"] / polar["label_std"],
    ]
    assert record["metrics"]["test_nrmse"] == pytest.approx(sum(shares) / 2)
    assert "best_val_rmse" not in record["metrics"]


def test_an_ensembles_gap_is_the_mean_of_its_members(two_targets: Path) -> None:
    config = small_sweep(two_targets.parents[1]).config
    with open_database(config.study.storage) as db:
        members = read_members(db, open_study(db, config.study_name))
    for name, trial in (("rank_1", 1), ("rank_2", 0)):
        gaps = [m.metrics["generalisation_gap"] for m in members if m.key.trial == trial]
        found = records(two_targets)[name]["metrics"]["generalisation_gap"]
        assert found == pytest.approx(sum(gaps) / len(gaps))


def test_a_model_that_was_trained_as_swept_has_the_figures_of_its_training(tmp_path: Path) -> None:
    data = {"target_cols": ["size"], "target_transforms": {}, "target_units": {}}
    folder = made(tmp_path, 1, as_swept=True, data=data)
    record = records(folder)["combined"]
    (member,) = json.loads((folder / "combined" / "manifest.json").read_text())["members"]
    config = small_sweep(tmp_path, data=data).config
    with open_database(config.study.storage) as db:
        (trained,) = read_members(db, open_study(db, config.study_name))
    assert record["kind"] == "model"
    figures = {n: v for n, v in record["metrics"].items() if not n.startswith("test_")}
    assert figures == dict(trained.metrics)
    assert {"best_val_rmse", "train_rmse", "val_r2", "generalisation_gap"} <= figures.keys()
    assert record["provenance"]["seed"] == member["seed"] == 7
    given = record["provenance"]["hyperparameters"]
    assert (given["max_lr"], given["depth"], given["batch_size"]) == (0.01, 2, 8)


def test_data_and_test_rows_are_known_again(two_targets: Path, tmp_path: Path) -> None:
    other = made(tmp_path, 1, split={"method": "random", "test_fraction": 0.3, "n_folds": 2})
    one, two = records(two_targets)["rank_1"], records(other)["rank_1"]
    assert one["provenance"]["dataset"] == two["provenance"]["dataset"]
    assert one["test_set"] != two["test_set"]
    assert one["test_set"] == records(two_targets)["combined"]["test_set"]


def test_without_test_rows_there_are_no_test_figures(tmp_path: Path) -> None:
    folder = made(tmp_path, 1, split={"method": "random", "test_fraction": 0.0, "n_folds": 2})
    record = records(folder)["combined"]
    assert record["test_set"] is None
    assert not any(name.startswith("test_") for name in record["metrics"])
    assert [target["tested"] for target in record["targets"]] == [False, False]
