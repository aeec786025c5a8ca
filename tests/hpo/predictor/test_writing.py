from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.predictor import load_ensemble, write_predictor
from chemprop_hpo.hpo.predictor.manifest import MANIFEST, Target
from chemprop_hpo.hpo.predictor.writing import mark_of
from tests.hpo import trainings
from tests.hpo.predictor.conftest import TARGETS
from tests.hpo.predictor.made_predictors import N_TRAIN, make_content


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_manifest_says_what_the_predictor_is_made_of(two_targets, members):
    manifest = json.loads((two_targets / MANIFEST).read_text())
    assert manifest["format"] == 2
    assert manifest["targets"] == [
        {"name": "carbons", "unit": "C", "transform": "none"},
        {"name": "oxygens", "unit": "", "transform": "log10p1"},
    ]
    second = manifest["members"][1]
    assert (second["rank"], second["trial"], second["split"], second["fold"]) == (1, 11, 0, 1)
    assert (second["seed"], second["epochs"], second["weights"]) == (1001, 2, [0.25, 0.4])
    assert second["molecule_features"] == ["rdkit_2d", "charge"]
    assert [c["rank"] for c in manifest["configurations"]] == [1, 2]
    assert manifest["calibration"]["carbons"]["quantiles"] == {"80": 1.2, "90": 1.6}
    assert manifest["test_scored"] is None


def test_every_file_but_the_manifest_stands_in_it_with_its_sha256(two_targets):
    manifest = json.loads((two_targets / MANIFEST).read_text())
    marks = {member["file"]: member for member in manifest["members"]} | manifest["files"]
    assert sorted([*marks, MANIFEST]) == files_of(two_targets)
    for name, mark in marks.items():
        found = mark_of(two_targets / name)
        assert (mark["sha256"], mark["bytes"]) == (found.sha256, found.bytes)


def test_training_molecules_are_kept_once(small, tmp_path):
    content = replace(small, training_smiles=["CCO", "C", "CCO"])
    write_predictor(tmp_path / "p", content)
    packed = (tmp_path / "p" / "training.csv.gz").read_bytes()
    assert gzip.decompress(packed) == b"smiles\nC\nCCO\n"


def test_model_files_are_shared_on_the_disk(small, tmp_path):
    write_predictor(tmp_path / "rank_1", small)
    write_predictor(tmp_path / "combined", small)
    inodes = {
        path.stat().st_ino
        for path in (
            small.members[0].model_file,
            *(tmp_path / "rank_1" / "models").iterdir(),
            *(tmp_path / "combined" / "models").iterdir(),
        )
    }
    assert len(inodes) == 1


def test_model_files_are_copied_where_there_are_no_hard_links(small, tmp_path, monkeypatch):
    from chemprop_hpo.hpo.predictor import writing

    def no_links(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(writing.os, "link", no_links)
    write_predictor(tmp_path / "p", small)
    assert len(load_ensemble(tmp_path / "p")) == 1


def test_members_without_a_weight_and_ranks_without_members_are_left_out(members, tmp_path):
    without = [replace(member, weights=(0.0, 0.0)) for member in members[:2]]
    only = replace(members[2], weights=(1.0, 1.0))
    manifest = write_predictor(tmp_path / "p", make_content([*without, only], TARGETS))
    assert [member.rank for member in manifest.members] == [2]
    assert [c.rank for c in manifest.configurations] == [2]
    assert len(list((tmp_path / "p" / "models").iterdir())) == 1


def test_a_predictor_is_replaced_only_if_told_so(small, tmp_path):
    folder = tmp_path / "p"
    write_predictor(folder, small)
    before = (folder / MANIFEST).read_text()
    with pytest.raises(UsageError, match="there is a predictor already"):
        write_predictor(folder, replace(small, study="other"))
    assert (folder / MANIFEST).read_text() == before
    write_predictor(folder, replace(small, study="other"), replace=True)
    assert load_ensemble(folder).manifest.study == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_anything_but_a_predictor_is_never_replaced(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else than a predictor"):
        write_predictor(tmp_path, small, replace=True)
    with pytest.raises(UsageError, match="holds something else than a predictor"):
        write_predictor(tmp_path / "thesis.tex", small, replace=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_is_taken(small, tmp_path):
    (tmp_path / "p").mkdir()
    write_predictor(tmp_path / "p", small)
    assert len(load_ensemble(tmp_path / "p")) == 1


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("there_before", [True, False])
def test_a_fault_half_way_leaves_all_as_it_was(small, tmp_path, monkeypatch, fault, there_before):
    from chemprop_hpo.hpo.predictor import writing

    def fail(*_):
        raise fault

    folder = tmp_path / "ensembles" / "p"
    if there_before:
        write_predictor(folder, small)
    monkeypatch.setattr(writing, "_training", fail)
    expected = UsageError if isinstance(fault, OSError) else fault
    with pytest.raises(expected):
        write_predictor(folder, replace(small, study="other"), replace=True)
    if there_before:
        assert load_ensemble(folder).manifest.study == "alkanes"
    assert [path.name for path in folder.parent.iterdir()] == ["p"] * there_before


def test_a_missing_model_file_is_named(small, tmp_path):
    gone = replace(small.members[0], model_file=tmp_path / "gone.pt")
    with pytest.raises(UsageError, match=r"gone\.pt: No such file"):
        write_predictor(tmp_path / "p", replace(small, members=[gone]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": [Target(name="carbons")] * 2}, "a target stands twice"),
        ({"targets": TARGETS[:1]}, "one weight for each target"),
        ({"members": []}, "members"),
        ({"test_scored": {"rmse": float("nan")}}, "finite|NaN|nan|JSON"),
    ],
)
def test_content_that_does_not_hang_together_is_a_fault_of_the_caller(
    small, tmp_path, changes, message
):
    with pytest.raises((ValidationError, ValueError), match=message):
        write_predictor(tmp_path / "p", replace(small, **changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weights", [(0.5, 1.0), (1.5, 1.0)])
def test_weights_must_be_shares(small, tmp_path, weights):
    member = replace(small.members[0], weights=weights)
    with pytest.raises(ValidationError, match="shares that sum to one"):
        write_predictor(tmp_path / "p", replace(small, members=[member]))


def test_a_predictor_can_be_moved_and_copied(two_targets, tmp_path):
    shutil.copytree(two_targets, tmp_path / "copy")
    here, there = load_ensemble(two_targets), load_ensemble(tmp_path / "copy")
    np.testing.assert_array_equal(here.member_outputs(["CCO"]), there.member_outputs(["CCO"]))


def test_similarity_is_to_all_training_molecules(two_targets):
    predicted = load_ensemble(two_targets).predict(trainings.SMILES)
    assert (predicted["similarity"][:N_TRAIN] == 1.0).all()
    assert (predicted["similarity"][N_TRAIN:] < 1.0).any()
