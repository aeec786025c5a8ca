"""A folder of its own for each test, a study to look at, and a sweep that is not run."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.hpo.commands.made_study import SWEEP_YAML, TABLE, make_study
from tests.hpo.commands.shell import Shell
from tests.hpo.commands.stand_ins import sweep_module


@pytest.fixture(autouse=True, scope="module")
def _own_log() -> Iterator[None]:
    """Undo what commands do to the package's log, those of a module's own fixtures too."""
    log = logging.getLogger("chemprop_hpo")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHEMPROP_HPO_STORAGE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets
    log = logging.getLogger("chemprop_hpo")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "esol.yaml"
    path.write_text(SWEEP_YAML)
    path.with_name("esol.csv").write_text(TABLE)
    return path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "esol.yaml").write_text(SWEEP_YAML)
    (folder / "esol.csv").write_text(TABLE)
    make_study("esol", folder / "esol.yaml", f"sqlite:///{folder}/studies.db")
    return folder / "studies.db"


@pytest.fixture
def study(sweep_file: Path, made_study: Path, tmp_path: Path) -> str:
    shutil.copy(made_study, tmp_path / "studies.db")
    return "esol"


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = sweep_module()
    for name in ("chemprop_hpo.hpo.sweep", "chemprop_hpo.hpo.plan"):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(name, module, raising=False)
    return module
