from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from chemprop_hpo.hpo.tracking.manifest import (
    PACKAGES,
    build_manifest,
    git_state,
    package_versions,
)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "sweep.yaml").write_text("seed: 1\n")
    git(tmp_path, "add", "sweep.yaml")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_clean_repository_gives_its_commit(repository: Path) -> None:
    state = git_state(repository)
    assert state.commit == git(repository, "rev-parse", "HEAD")
    assert state.dirty is False


def test_changed_tracked_file_makes_it_dirty_and_an_untracked_one_does_not(
    repository: Path,
) -> None:
    (repository / "notes.txt").write_text("x")
    assert git_state(repository).dirty is False
    (repository / "sweep.yaml").write_text("seed: 2\n")
    assert git_state(repository).dirty is True


def test_folder_inside_a_repository_is_described_by_it(repository: Path) -> None:
    (repository / "deep" / "down").mkdir(parents=True)
    assert git_state(repository / "deep" / "down").commit == git_state(repository).commit


@pytest.mark.parametrize("missing", ["nothing", "git"])
def test_without_repository_or_git_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if missing == "git":
        monkeypatch.setenv("PATH", str(tmp_path))
    state = git_state(tmp_path if missing == "git" else tmp_path / "is" / "not" / "there")
    assert state.commit is None
    assert state.dirty is None


def test_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path).commit is None


def test_git_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("chemprop_hpo.hpo.tracking.manifest._GIT_TIMEOUT_S", 0.2)
    assert git_state(tmp_path).commit is None


def test_versions_name_every_package_that_decides_a_result() -> None:
    versions = package_versions()
    assert set(versions) == {"python", *PACKAGES}
    assert versions["numpy"] == numpy.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chemprop_hpo.hpo.tracking.manifest.PACKAGES", ("numpy", "no-such-distribution")
    )
    versions = package_versions()
    assert versions["no-such-distribution"] is None
    assert versions["numpy"] is not None


def test_manifest_survives_json(repository: Path) -> None:
    data = {"train.csv": {"sha256": "ab" * 32, "rows": 902}}
    manifest = build_manifest(seed=7, data=data, threads=2, devices=("cpu",), folder=repository)
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["seed"] == 7
    assert manifest["data"] == data
    assert (manifest["threads"], manifest["devices"]) == (2, ["cpu"])
    assert manifest["git"] == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False}


def test_manifest_imports_no_framework() -> None:
    code = (
        "import sys; from chemprop_hpo.hpo.tracking.manifest import build_manifest;"
        "build_manifest(seed=0, data={});"
        "print(sorted({'torch','lightning','ray','optuna','mlflow','chemprop','rdkit','numpy'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
