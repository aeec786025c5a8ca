"""Ensembles out of a study, whose members are trained here and not over Ray."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.exc import OperationalError

from chemprop_hpo.configs.errors import StudyMismatchError, SweepFailedError, UsageError
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry import splits
from chemprop_hpo.hpo.chemistry.folds import fold_list, read_folds
from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.ensembles.run import EnsembleResult, make_ensembles
from chemprop_hpo.hpo.predictor import load_ensemble
from chemprop_hpo.storage import outages
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.ensembles import EnsembleRecord, list_ensembles
from chemprop_hpo.storage.studies import open_study
from tests.hpo.ensembles.small_studies import (
    TrainedHere,
    molecules,
    stored_study,
    write_table,
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


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MOST_RESAMPLES", 20)
        yield


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    blind = folder / "blind.csv"
    blind.write_text("id,smiles\n" + "\n".join(f"{i},{s}" for i, s in enumerate(BLIND)) + "\n")
    write_table(folder / "molecules.csv", molecules(), missing=range(0, 60, 7))
    return make(stored_study(folder, data={"blind_file": str(blind)}), drawn=True)


# ------------------------------------------------------------------ what is written


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


# ------------------------------------------------------------------ once more


def again(made: Made, **more: Any) -> Made:
    return make(made.loaded, **more)


def test_the_same_call_trains_nothing_and_gives_the_same(made: Made) -> None:
    before = {name: (made.folder / name).read_text() for name in ("figures.csv", "out_of_fold.csv")}
    second = again(made)
    assert second.training.trained == []
    assert {name: (made.folder / name).read_text() for name in before} == before
    assert len(made.remembered()) == 2


def test_fewer_ranks_leave_nothing_of_an_earlier_call(made: Made, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert again(made, output=output).training.trained == []
    assert (output / "rank_2").exists()
    alone = again(made, k=1, output=output, force=True)
    assert alone.training.trained == []
    assert not (output / "rank_2").exists()
    assert load_ensemble(output / "combined").predict(["CCO"])["valid"].all()
    columns = set(alone.table("out_of_fold.csv").columns)
    assert {"size_mean", "size_mean_rank_1"} <= columns
    assert "size_mean_rank_2" not in columns


def test_other_ensembles_are_refused_before_anything_is_trained(made: Made, tmp_path: Path) -> None:
    output = tmp_path / "out"
    again(made, output=output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    remembered = len(made.remembered())
    with pytest.raises(UsageError, match=r"holds the top 2 \(trials 1, 0; folds 0, 1\)"):
        make(made.loaded, k=1, output=output)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert len(made.remembered()) == remembered


def test_other_ensembles_that_came_meanwhile_are_kept(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    predict = run.predict_test_rows

    def another_is_quicker(*arguments: Any) -> Any:
        monkeypatch.setattr(run, "predict_test_rows", predict)
        again(made, output=output)
        return predict(*arguments)

    monkeypatch.setattr(run, "predict_test_rows", another_is_quicker)
    with pytest.raises(UsageError, match=r"now the top 1 \(trial 1; fold 0\) is asked for"):
        again(made, k=1, folds=(0,), output=output)
    assert (output / "rank_2").exists()


def without(loaded: LoadedSweep, section: str, **changes: Any) -> LoadedSweep:
    stored = dict(loaded.stored)
    stored[section] = {**stored[section], **changes}
    return load_stored(stored)


def test_tables_that_are_no_longer_made_do_not_stay(made: Made, tmp_path: Path) -> None:
    output = tmp_path / "out"
    again(made, output=output)
    assert (output / "blind_predictions.csv").exists()
    (output / "plots").mkdir()
    (output / "plots" / "parity_09_gone.png").touch()
    make(without(made.loaded, "data", blind_file=None), output=output)
    assert list((output / "plots").iterdir()) == []
    assert (output / "test_predictions.csv").exists()
    assert not (output / "blind_predictions.csv").exists()


def test_only_new_members_are_trained(made: Made, tmp_path: Path) -> None:
    more = again(made, k=3, output=tmp_path / "out")
    assert more.training.trained == [(2, 0, 0), (2, 0, 1)]
    assert (tmp_path / "out" / "rank_3").exists()


def test_test_rows_may_come_after_the_sweep(made: Made, tmp_path: Path) -> None:
    path = write_table(tmp_path / "late.csv", ["CCNCCN", "NCCCN", "CCOCCS"])
    data = {"test_file": str(path), "blind_file": None}
    late = make(without(made.loaded, "data", **data), k=1, output=tmp_path / "out")
    assert late.table("test_predictions.csv")["smiles"].tolist() == ["CCNCCN", "NCCCN", "CCOCCS"]
    assert late.manifest("combined")["test_scored"]["file"] == "late.csv"
    # What the split had set aside is trained on now, so that members are others.
    assert len(late.table("out_of_fold.csv")) == 60
    assert late.training.trained == [(1, 0, 0), (1, 0, 1)]


def test_a_data_file_that_was_changed_is_refused_unless_accepted(tmp_path: Path) -> None:
    loaded = stored_study(tmp_path, [0.3])
    write_table(tmp_path / "molecules.csv", molecules()[:50])
    with pytest.raises(StudyMismatchError, match="data file: 60 rows.* 50 rows"):
        make(loaded, k=1)
    accepted = make(loaded, k=1, accept_changed_data=True)
    assert accepted.manifest("combined")["data"]["file"]["rows"] == 50


def test_a_file_that_is_cut_otherwise_here_is_refused_since_test_rows_were_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = stored_study(tmp_path, [0.3])
    cut = splits.equal_molecules
    # As another RDKit would: groups in another order are shuffled into other parts.
    monkeypatch.setattr(splits, "equal_molecules", lambda canonical: cut(canonical)[::-1].copy())
    with pytest.raises(StudyMismatchError, match=r"its test and train and validation rows are"):
        make(loaded, k=1)


def test_a_database_that_is_away_after_the_training_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def away_once(step: Callable[..., Any]) -> Callable[..., Any]:
        def asking(*args: Any) -> Any:
            asked.append(step.__name__)
            if asked.count(step.__name__) == 1:
                locked = sqlite_error("locked", sqlite3.SQLITE_BUSY)
                raise OperationalError("SELECT", {}, locked) from locked
            return step(*args)

        return asking

    for step in (run.list_ensembles, run.read_search, run.add_ensemble):
        monkeypatch.setattr(run, step.__name__, away_once(step))
    monkeypatch.setattr(outages, "_TRY_EVERY_S", 0.0)
    made = make(stored_study(tmp_path, [0.3]), k=1)
    assert asked == [name for step in STEPS for name in (step, step)]
    assert len(made.remembered()) == 1


STEPS = ("list_ensembles", "read_search", "add_ensemble")


def sqlite_error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def test_a_test_file_may_not_go_since_its_place_would_be_taken_by_trained_rows(
    tmp_path: Path,
) -> None:
    test = write_table(tmp_path / "test.csv", ["CCNCCN", "NCCCN"])
    loaded = stored_study(tmp_path, [0.3], data={"test_file": str(test)})
    with pytest.raises(StudyMismatchError, match="test_file"):
        make(without(loaded, "data", test_file=None), k=1)


def test_a_blind_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    blind = write_table(tmp_path / "blind.csv", ["CCO"])
    loaded = stored_study(tmp_path, [0.3], data={"blind_file": str(blind)})
    write_table(blind, ["CCN"])
    with pytest.raises(StudyMismatchError, match="data blind_file: 1 rows.* 1 rows"):
        make(loaded, k=1)


def test_a_folder_of_another_study_is_refused_before_anything(made: Made, tmp_path: Path) -> None:
    other = stored_study(
        tmp_path,
        study={
            "name": "other",
            "storage": f"sqlite:///{tmp_path}/other.db",
            "folder": str(tmp_path / "study"),
        },
    )
    with pytest.raises(UsageError, match="holds ensembles of study 'small'; give -o another"):
        make(other, output=made.folder)
    assert not (tmp_path / "study").exists()


def test_an_earlier_look_at_test_rows_with_other_configurations_is_told(made: Made) -> None:
    said = again(made, k=1, force=True).result.content.warnings
    assert any("Test rows of this study were scored" in line for line in said)


def test_molecules_that_only_validated_are_no_training_molecules(
    made: Made, tmp_path: Path
) -> None:
    alone = again(made, k=1, folds=(0,), output=tmp_path / "out")
    assert alone.training.trained == []
    config = made.loaded.config
    fold = read_folds(config, fold_list(config))[0, 0]
    known = gzip.decompress((alone.folder / "rank_1" / "training.csv.gz").read_bytes())
    assert set(known.decode().splitlines()[1:]) == set(fold.train.canonical)
    said = load_ensemble(alone.folder).predict([fold.train.smiles[0]])
    assert said["similarity"][0] == pytest.approx(1.0)
    assert np.isnan(said["size_std"][0])  # one model is alone


# ------------------------------------------------------------------ what goes wrong


def test_a_member_that_fails_leaves_its_rows_out_and_the_others_its_weight(
    tmp_path: Path,
) -> None:
    loaded = stored_study(tmp_path, [0.3, 0.2])
    made = make(loaded, failing=[(1, 0, 1)])
    assert [record.key[:3] for record in made.result.failed] == [(1, 0, 1)]
    assert [m["fold"] for m in made.manifest("rank_1")["members"]] == [0]
    weights = [m["weights"] for m in made.manifest("combined")["members"]]
    assert np.sum(weights, axis=0) == pytest.approx(1.0)
    shown = made.table("out_of_fold.csv")
    missing = shown["size_mean_rank_1"].isna()
    assert (shown["fold_split_0"][missing] == 1).all()
    assert (shown["fold_split_0"][~missing] == 0).all()
    assert shown["size_mean"].notna().all()
    (failed,) = [m for m in made.result.content.members if m.error]
    assert (failed.rank, failed.fold) == (1, 1)
    assert made.remembered()[0].record["failed"] == 1


def test_a_rank_without_any_model_ends_it_with_the_reason(tmp_path: Path) -> None:
    loaded = stored_study(tmp_path, [0.3, 0.2])
    with pytest.raises(SweepFailedError) as caught:
        make(loaded, failing=[(0, 0, 0), (0, 0, 1)])
    message = str(caught.value)
    assert message.startswith("rank 2: no model with the configuration of trial 0 could be trained")
    assert "too hard" in message
    assert "Traceback" not in message
    assert not (loaded.config.study_folder / "ensembles").exists()


def test_one_split_without_test_rows_is_fully_described(tmp_path: Path) -> None:
    cut = {"method": "random", "test_fraction": 0.0, "n_folds": 3}
    made = make(stored_study(tmp_path, [0.3], split=cut), k=1, folds=(0, 2))
    assert not (made.folder / "test_predictions.csv").exists()
    assert made.manifest("combined")["test_scored"] is None
    shown = made.table("out_of_fold.csv")
    assert len(shown) == 60
    assert shown["fold_split_0"].isna().sum() == shown["size_mean"].isna().sum() == 20
    assert any("20 training rows of 60 have no" in line for line in made.result.content.warnings)
    assert made.result.content.combinations == ()
    assert set(made.table("figures.csv")["part"]) == {"out_of_fold"}


def test_failed_members_are_trained_again_where_that_is_asked_for(tmp_path: Path) -> None:
    loaded = stored_study(tmp_path, [0.3])
    assert len(make(loaded, k=1, failing=[(0, 0, 1)]).result.failed) == 1
    assert len(make(loaded, k=1).result.failed) == 1
    mended = make(loaded, k=1, retry_failed=True)
    assert (mended.result.failed, mended.training.trained) == ([], [(0, 0, 1)])
    assert len(mended.manifest("rank_1")["members"]) == 2
