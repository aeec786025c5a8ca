from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace

import pytest
import torch

from chemprop_hpo.configs.errors import ResourceError, UsageError
from chemprop_hpo.hpo.predictor import PredictorError, load_ensemble, write_predictor
from chemprop_hpo.hpo.predictor.manifest import MANIFEST


@pytest.fixture
def copy(two_targets, tmp_path):
    return shutil.copytree(two_targets, tmp_path / "p")


def change_manifest(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_ensemble_says_what_it_is(two_targets):
    ensemble = load_ensemble(str(two_targets))
    assert repr(ensemble) == f"<Ensemble of 3 models for carbons, oxygens in {two_targets}>"
    assert ensemble.smiles_col == "smiles"


def test_of_several_predictors_the_combined_one_is_taken(two_targets):
    assert load_ensemble(two_targets.parent).folder == two_targets


@pytest.mark.parametrize(
    "name", ["models/rank_1_split_0_fold_1.pt", "fillings.npz", "training.csv.gz"]
)
def test_a_missing_or_changed_file_is_named(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PredictorError, match=rf"{name}: .* \(its sha256 differs\)"):
        load_ensemble(copy)
    (copy / name).write_bytes(content[:-5])
    with pytest.raises(PredictorError, match=rf"{name}: .* bytes where .* were written"):
        load_ensemble(copy)
    (copy / name).unlink()
    with pytest.raises(PredictorError, match=rf"{name}: the file is missing"):
        load_ensemble(copy)


class Trap:
    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_changed_file_is_never_unpickled(copy, tmp_path):
    trap = Trap()
    trap.path = tmp_path / "sprung"
    model = copy / "models" / "rank_2_split_0_fold_0.pt"
    model.write_bytes(pickle.dumps(trap))
    with pytest.raises(PredictorError):
        load_ensemble(copy)
    assert not trap.path.exists()
    pickle.loads(model.read_bytes()).close()
    assert trap.path.exists()  # it would have been


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 3}, "is of format 3, and this version of chemprop-hpo reads format 2"),
        ({"task": "dancing"}, r"is damaged \(task: "),
        ({"colour": "red"}, r"is damaged \(colour: "),
        ({"files": {}}, r"is damaged \(fillings.npz is not in it\)"),
        ({"members": []}, r"is damaged \(members: "),
        ({"calibration": {}}, r"is damaged \(calibration must name each target once\)"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(copy, changes, message):
    change_manifest(copy, **changes)
    with pytest.raises(PredictorError, match=message):
        load_ensemble(copy)


def test_a_manifest_of_format_1_that_knows_only_searched_parameters_is_read(copy):
    known = ("rank", "trial", "params")
    configurations = json.loads((copy / MANIFEST).read_text())["configurations"]
    older = [{name: one[name] for name in known} for one in configurations]
    change_manifest(copy, format=1, configurations=older)
    first = load_ensemble(copy).manifest.configurations[0]
    assert (first.params, first.hyperparameters, first.git_commit) == ({"depth": 2}, None, None)


@pytest.mark.parametrize("file", ["../best.pt", "/etc/best.pt", "models/../../best.pt", "x.pt"])
def test_a_manifest_leads_out_of_its_folder_nowhere(copy, file):
    members = json.loads((copy / MANIFEST).read_text())["members"]
    change_manifest(copy, members=[members[0] | {"file": file}, *members[1:]])
    with pytest.raises(PredictorError, match=r"members\.0\.file"):
        load_ensemble(copy)


def test_a_calibration_that_is_no_number_is_told(copy):
    wrong = {"factor": "much", "floor": 1.0, "quantiles": {}}
    change_manifest(copy, calibration={"carbons": wrong, "oxygens": wrong})
    with pytest.raises(PredictorError, match=r"manifest\.json: is damaged \(carbons: calibration"):
        load_ensemble(copy)


def test_a_manifest_that_is_no_json_is_refused(copy):
    (copy / MANIFEST).write_text("{")
    with pytest.raises(PredictorError, match="is damaged"):
        load_ensemble(copy)


def test_a_filling_that_is_missing_is_told(copy):
    members = json.loads((copy / MANIFEST).read_text())["members"]
    members[1]["fillings"] = {}
    change_manifest(copy, members=members)
    with pytest.raises(PredictorError, match="has no filling 'rdkit_2d'"):
        load_ensemble(copy)


def test_a_folder_that_is_no_predictor_says_where_one_is(two_targets, tmp_path):
    with pytest.raises(PredictorError, match="there is no such folder"):
        load_ensemble(tmp_path / "none")
    shutil.copytree(two_targets, tmp_path / "rank_1")
    with pytest.raises(PredictorError, match=r"has no manifest\.json; there is one in rank_1"):
        load_ensemble(tmp_path)
    with pytest.raises(PredictorError, match=r"manifest\.json: is a file; name the folder"):
        load_ensemble(tmp_path / "rank_1" / MANIFEST)


def test_a_folder_that_was_not_finished_is_not_offered(tmp_path):
    (tmp_path / ".rank_1.0a.tmp").mkdir()
    (tmp_path / ".rank_1.0a.tmp" / MANIFEST).write_text("{}")
    with pytest.raises(PredictorError, match=r"has no manifest\.json$"):
        load_ensemble(tmp_path)


def test_a_model_that_needs_what_is_not_installed_is_told(small, tmp_path):
    path = tmp_path / "strange.pt"
    stored = torch.load(small.members[0].model_file, weights_only=False)
    stored["hyper_parameters"]["predictor"]["cls"] = "what"
    torch.save(stored, path)
    member = replace(small.members[0], model_file=path)
    write_predictor(tmp_path / "p", replace(small, members=[member]))
    with pytest.raises(PredictorError, match=r"installed packages cannot read this model"):
        load_ensemble(tmp_path / "p")


def test_a_member_that_is_no_model_is_told(small, tmp_path):
    (tmp_path / "noise.pt").write_bytes(b"noise")
    member = replace(small.members[0], model_file=tmp_path / "noise.pt")
    write_predictor(tmp_path / "p", replace(small, members=[member]))
    with pytest.raises(PredictorError, match=r"rank_1_split_0_fold_0\.pt: "):
        load_ensemble(tmp_path / "p")


def test_devices_are_checked(two_targets, monkeypatch):
    with pytest.raises(ResourceError, match="must be cpu or cuda"):
        load_ensemble(two_targets, device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="torch finds no GPU"):
        load_ensemble(two_targets, device="cuda")


def test_its_errors_are_the_users_to_put_right():
    assert issubclass(PredictorError, UsageError)
    assert PredictorError.exit_code == 2
