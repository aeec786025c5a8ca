"""Ensembles made once more, of other choices, and in spite of what can go wrong."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from chemprop_hpo.configs.errors import StudyMismatchError, SweepFailedError, UsageError
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.hpo.chemistry.tables import splits
from chemprop_hpo.hpo.chemistry.tables.folds import fold_list, read_folds
from chemprop_hpo.hpo.ensembles import run
from chemprop_hpo.hpo.predictor import load_ensemble
from chemprop_hpo.storage import outages
from tests.hpo.ensembles.makers import Made, make
from tests.hpo.ensembles.small_studies import (
    molecules,
    stored_study,
    write_table,
)

pytestmark = pytest.mark.usefixtures("quick")

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
    again(made, output=output, drawn=True)
    assert (output / "blind_predictions.csv").exists()
    next((output / "plots").glob("*.png")).rename(output / "plots" / "parity_09_gone.png")
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
