"""A whole sweep of real Chemprop models through real Ray, small enough for a laptop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import ray
import torch
import yaml
from chemprop.models.utils import load_model
from mlflow import MlflowClient
from sqlalchemy import make_url

from chemprop_hpo.configs.errors import ResourceError, StudyMismatchError
from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.hpo import beginning
from chemprop_hpo.hpo.drive import SweepResult
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.run import make_ensembles
from chemprop_hpo.hpo.plan import plan_sweep
from chemprop_hpo.hpo.sweep import resume_sweep, start_sweep
from chemprop_hpo.storage.database import open_database
from tests.hpo import scripted
from tests.hpo.scripted import Recorder, table

HEADS = ["regression", "branched", "mixture_of_experts"]


def small(folder: Path, **sections: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "data": {"file": str(table(folder, 60)), "target_cols": ["y"]},
        "split": {"method": "random", "test_fraction": 0.1, "val_fraction": 0.2},
        "model": {"depth": 2, "message_hidden_dim": 16, "hidden_dim": 16},
        "optimization": {"batch_size": 16, "max_epochs": 5, "warmup_epochs": 1},
        "search_space": {
            "ffn_type": {"type": "choice", "choices": HEADS},
            "n_experts": {
                "type": "randint",
                "low": 2,
                "high": 3,
                "condition": "ffn_type == 'mixture_of_experts'",
            },
            "max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        },
        "enqueue": [{"ffn_type": "branched"}, {"ffn_type": "mixture_of_experts"}],
        "num_samples": 5,
        "scheduler": {"max_t": 5, "grace_period": 2},
        "resources": {"max_concurrent_trials": 2},
        "study": {
            "name": "small",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": False},
    }
    return config | sections


def trials_in(folder: Path, name: str = "small") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/studies.db").trials


@pytest.fixture(scope="class")
def four_cpus_and_a_gpu() -> Iterator[None]:
    """A Ray of our own: it counts a GPU that is not there, which no model is trained on."""
    ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="class")
def swept(
    four_cpus_and_a_gpu: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SweepResult]:
    """A folder with a finished sweep."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, start_sweep(load_stored(small(folder)))


@pytest.mark.usefixtures("four_cpus_and_a_gpu")
class TestInOneProcess:
    def test_five_trials_of_five_epochs_take_all_three_heads(
        self, swept: tuple[Path, SweepResult]
    ) -> None:
        folder, result = swept
        trials = trials_in(folder)
        assert result.reason == "finished"
        assert sum(result.counts.values()) == len(trials) == 5
        assert {t.state.name for t in trials} <= {"COMPLETE", "PRUNED"}
        assert {t.user_attrs["head"] for t in trials} == set(HEADS)
        assert [t.params["ffn_type"] for t in trials[:3]] == HEADS
        assert result.best is not None
        assert result.best.metrics["val_rmse"] > 0
        assert "generalisation_gap" in result.best.metrics
        models = list((folder / "study").rglob("best.pt"))
        assert 1 <= len(models) <= 3
        assert load_model(models[0]).predictor is not None

    def test_equal_seeds_give_equal_studies(self, tmp_path: Path) -> None:
        values = []
        for run in ("one", "two"):
            folder = tmp_path / run
            folder.mkdir()
            config = small(folder, num_samples=2, resources={"max_concurrent_trials": 1})
            start_sweep(load_stored(config))
            values.append([t.intermediate_values for t in trials_in(folder)])
        assert values[0] == values[1]

    def test_a_candidate_has_the_weights_of_its_trial_bit_for_bit(
        self, swept: tuple[Path, SweepResult]
    ) -> None:
        folder, result = swept
        assert result.best is not None
        made = make_ensembles(load_stored(small(folder)), Request(Choice(1), as_swept=True))
        (again,) = (made.folder / "combined" / "models").glob("*.pt")
        (of_trial,) = (folder / "study").rglob(f"*{result.best.number}/best.pt")
        weights, others = (load_model(path).state_dict() for path in (of_trial, again))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[name], others[name]) for name in weights)

    def test_a_grid_runs_each_point_once_across_a_resume(self, tmp_path: Path) -> None:
        space = {
            "depth": {"type": "choice", "choices": [scripted.GOOD, scripted.EARLY]},
            "batch_size": {"type": "choice", "choices": [16, 32]},
        }
        config = small(
            tmp_path,
            model={"depth": scripted.GOOD},
            search_space=space,
            enqueue=[],
            sampler={"type": "grid"},
            scheduler={"type": "none", "max_t": 5},
            num_samples=2,
        )
        train = scripted.scripted_train
        start_sweep(load_stored(config), train=train)
        assert len(trials_in(tmp_path)) == 2
        url = f"sqlite:///{tmp_path}/studies.db"
        resume_sweep("small", url, num_samples=100, train=train)
        points = [tuple(sorted(t.params.items())) for t in trials_in(tmp_path)]
        assert len(points) == len(set(points)) == 4

    def test_four_trials_share_one_gpu_of_rays_own_count(self, tmp_path: Path) -> None:
        recorder = Recorder()
        resources = {"gpus_per_trial": 0.25, "max_concurrent_trials": None}
        loaded = scripted.sweep_of(tmp_path, [scripted.GOOD] * 5, resources=resources)
        start_sweep(loaded, observers=(recorder,), train=scripted.scripted_train)
        assert recorder.most == 4

    @pytest.mark.parametrize(
        ("room", "said"),
        [(1, "it runs again by itself"), (3, "no more than 3 at once from now on")],
    )
    def test_fewer_share_a_gpu_whose_memory_does_not_suffice(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int, said: str
    ) -> None:
        resources = {"gpus_per_trial": 0.25, "max_concurrent_trials": None}
        loaded = scripted.sweep_of(tmp_path, [scripted.GOOD] * 9, resources=resources)
        (tmp_path / "memory").mkdir()
        start_sweep(loaded, train=scripted.Crowded(tmp_path / "memory", room))
        assert [t.state.name for t in trials_in(tmp_path, "scripted")] == ["COMPLETE"] * 9
        assert said in caplog.text
        assert room < 3 or "no more than 2 at once" not in caplog.text

    def test_a_study_of_other_data_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        loaded = scripted.sweep_of(tmp_path, [scripted.GOOD])
        start_sweep(loaded, train=scripted.scripted_train)
        before = trials_in(tmp_path, "scripted")
        table(tmp_path, rows=40)
        with pytest.raises(StudyMismatchError, match="40 rows"):
            start_sweep(loaded, train=scripted.scripted_train)
        assert trials_in(tmp_path, "scripted") == before

    def test_a_gpu_that_is_not_there_fails_the_trial_and_never_falls_back(
        self, tmp_path: Path
    ) -> None:
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        config = small(tmp_path, num_samples=1, enqueue=[], resources={"gpus_per_trial": 1})
        start_sweep(load_stored(config))
        (trial,) = trials_in(tmp_path)
        assert trial.state.name == "FAIL"
        assert "cuda" in trial.user_attrs["error"].lower()

    def test_where_ray_counts_a_gpu_that_torch_does_not_see_nothing_is_stored(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(beginning, "is_private", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(ResourceError, match="no node has a GPU"):
            start_sweep(load_stored(small(tmp_path, resources={"gpus_per_trial": 1})))
        assert not (tmp_path / "studies.db").exists()

    def test_a_process_that_is_connected_has_what_its_ray_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        loaded = scripted.sweep_of(tmp_path, [scripted.GOOD], resources={"cpus_per_trial": 4})
        result = start_sweep(loaded, train=scripted.scripted_train)
        assert result.counts["COMPLETE"] == 1

    def test_an_existing_cluster_is_joined_and_left_running(self, tmp_path: Path) -> None:
        address = ray.get_runtime_context().gcs_address
        file = write_sweep(tmp_path, num_samples=1, enqueue=[])
        home = {"HOME": os.environ["HOME"]}  # where the cluster's token is
        process = command(tmp_path, "sweep", str(file), f"ray.address={address}", **home)
        output = process.communicate(timeout=200)[0]
        assert process.returncode == 0, output
        assert "4 CPUs, 1 GPUs" in output
        assert ray.cluster_resources()["CPU"] == 4
        assert file.name not in str(ray._private.state.jobs())  # arguments may hold a password


def test_an_address_without_a_cluster_is_one_clear_line(tmp_path: Path) -> None:
    loaded = load_stored(small(tmp_path, ray={"address": "127.0.0.1:1"}))
    with pytest.raises(ResourceError, match="no Ray cluster at 127.0.0.1:1"):
        start_sweep(loaded)
    assert not (tmp_path / "studies.db").exists()


def test_a_dry_run_checks_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    loaded = load_stored(small(tmp_path))
    before = sorted(tmp_path.iterdir())
    plan = plan_sweep(loaded)
    assert len(plan.samples) == 5
    assert plan.samples[0]["ffn_type"] == "regression"
    assert "n_experts" in plan.space_tree
    assert sorted(tmp_path.iterdir()) == before


def test_more_cpus_than_there_are_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    loaded = load_stored(small(tmp_path, resources={"cpus_per_trial": 4096}))
    with pytest.raises(ResourceError, match="cpus_per_trial"):
        start_sweep(loaded)
    assert not (tmp_path / "studies.db").exists()


# ------------------------------------------------------------------ from the command line


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chemprop_hpo", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder), **environment},
    )


def write_sweep(folder: Path, **sections: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(small(folder, **sections)))
    return path


def test_a_sweep_leaves_no_process_and_nowhere_a_planted_password(
    tmp_path: Path, postgres_url: str
) -> None:
    planted = "s3cr3t-Pl4nted"
    url = make_url(postgres_url).set(password=planted).render_as_string(hide_password=False)
    config = small(tmp_path, num_samples=1, enqueue=[])
    config["study"]["storage"] = url
    config["mlflow"] = {"tracking": True, "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(config | {"study": {"name": "small"}}))
    process = command(tmp_path, "sweep", str(file), "--storage", url, "--log-level", "DEBUG")
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    assert planted not in output
    mine = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    assert mine == []  # nothing of Ray is left running
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) > 3
    assert [p for p in written if planted.encode() in p.read_bytes()] == []
    with open_database(url) as db:
        study = optuna.load_study(study_name="small", storage=db.storage)
        (trial,) = study.trials
        assert planted not in str(study.user_attrs) + str(trial.user_attrs)
    runs = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_runs(["1"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert [run.info.run_id for run in children] == [trial.user_attrs["mlflow_run_id"]]
    assert "val_rmse" in children[0].data.metrics
