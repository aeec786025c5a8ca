"""The layout holds: links, archives, commands and the promises of the README."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import chemprop_hpo

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
FOLDERS = ("configs", "hpo", "storage")


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    # Without what an outer `make test` hands down, which would change an inner make.
    inherited = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | env,
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )


def tracked_files() -> list[Path]:
    listing = run("git", "-c", "safe.directory=*", "ls-files", "-z")
    if listing.returncode:
        pytest.skip("not a Git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


# ----------------------------------------------------------------------------- layout


@pytest.mark.parametrize("folder", FOLDERS)
def test_package_links_to_the_folder_beside_it(folder: str) -> None:
    assert (ROOT / "chemprop_hpo" / folder).readlink() == Path("..") / folder


def test_links_are_committed_as_links() -> None:
    listing = run("git", "-c", "safe.directory=*", "ls-files", "--stage", "chemprop_hpo")
    if listing.returncode:
        pytest.skip("not a Git checkout")
    links = {line.split("\t")[1] for line in listing.stdout.splitlines() if line[:6] == "120000"}
    assert links == {f"chemprop_hpo/{folder}" for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_clone_without_symlinks_says_how_to_repair_it(folder: str, tmp_path: Path) -> None:
    package = tmp_path / "chemprop_hpo"
    package.mkdir()
    shutil.copy(ROOT / "chemprop_hpo/__init__.py", package)
    (package / folder).write_text(f"../{folder}")
    outcome = run(sys.executable, "-c", "import chemprop_hpo", cwd=tmp_path)
    last_line = outcome.stderr.splitlines()[-1]
    assert outcome.returncode == 1
    assert last_line.startswith(f"ImportError: chemprop_hpo/{folder} is a plain file")
    assert "git config core.symlinks true" in last_line


def test_tracked_files_name_no_path_of_one_machine() -> None:
    machine_path = re.compile(r"(?<![\w.-])/(work|root|home|Users)/\w|\.\./" + "shared")
    naming = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path.is_file() and not path.is_symlink()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if machine_path.search(line)
    ]
    assert naming == []


def test_importing_the_package_writes_nothing_and_loads_no_framework() -> None:
    code = (
        "import sys, chemprop_hpo.configs.schema\n"
        "heavy = {'torch', 'ray', 'optuna', 'mlflow', 'lightning', 'rdkit'}\n"
        "print(*heavy & set(sys.modules), end='')"
    )
    outcome = run(sys.executable, "-c", code)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


# ----------------------------------------------------------------------------- archives


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a source archive, as an installer unpacks it."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_a_wheel_from_a_source_archive_holds_every_module_and_sweep(unpacked_wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    package = unpacked_wheel / "chemprop_hpo"
    packed = {
        path.relative_to(package)
        for folder in FOLDERS
        for path in (package / folder).rglob("*")
        if path.is_file()
    }
    assert packed == expected
    assert (package / "py.typed").is_file()


def test_a_wheel_imports_outside_the_checkout(unpacked_wheel: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked_wheel)!r})\n"
        "import chemprop_hpo.configs.schema, chemprop_hpo.hpo.cli, chemprop_hpo.storage as last\n"
        "print(chemprop_hpo.__version__, last.__file__)"
    )
    outcome = run(sys.executable, "-I", "-c", code, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    printed_version, file = outcome.stdout.split()
    assert printed_version == chemprop_hpo.__version__
    assert Path(file).is_relative_to(unpacked_wheel)


def test_installed_version_is_the_one_in_the_code() -> None:
    assert version("chemprop-hpo") == chemprop_hpo.__version__


def test_every_tested_version_lies_in_the_declared_range() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    declared = [
        Requirement(text)
        for text in project["dependencies"]
        + extras["postgres"]
        + extras["examples"]
        + extras["dev"]
    ]
    outside = [r for r in declared if not r.specifier.contains(tested[r.name.lower()])]
    assert outside == []


# ----------------------------------------------------------------------------- commands


def test_python_m_is_the_same_program_as_the_command() -> None:
    command = run(BIN / "chemprop-hpo", "--help", COLUMNS="100")
    module = run(sys.executable, "-m", "chemprop_hpo", "--help", COLUMNS="100")
    assert command.returncode == module.returncode == 0
    assert module.stdout.replace("python -m chemprop_hpo", "chemprop-hpo") == command.stdout


def test_make_alone_lists_every_command() -> None:
    listed = set(re.findall(r"^  make ([\w-]+)", run("make").stdout, re.MULTILINE))
    assert listed == make_targets()


def test_make_sweep_makes_environment_and_data_before_it_starts(tmp_path: Path) -> None:
    planned = run("make", "--dry-run", "--always-make", "sweep", f"VENV={tmp_path}/venv").stdout
    steps = [f"-m venv {tmp_path}/venv", "constraints.txt", "example_data.py", "chemprop-hpo sweep"]
    places = [planned.index(step) for step in steps]
    assert places == sorted(places)


def test_make_names_the_missing_python(tmp_path: Path) -> None:
    outcome = run("make", "install", "PYTHON=", f"VENV={tmp_path}/venv")
    assert outcome.returncode == 2
    assert "no Python 3.11 or 3.12 found" in outcome.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_stops_at_the_first_failure_and_ends_with_the_tests(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$@"\ntest "$2" != "$FAILING"\n')
    make.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    passing = run("bash", ".ci/run", PATH=path, FAILING="none")
    failing = run("bash", ".ci/run", PATH=path, FAILING="check")
    assert passing.returncode == 0
    assert [line.split()[-1] for line in passing.stdout.splitlines()] == ["check", "test"]
    assert failing.returncode != 0
    assert [line.split()[-1] for line in failing.stdout.splitlines()] == ["check"]


def make_targets() -> set[str]:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(phony.split())


# ----------------------------------------------------------------------------- import contracts


@pytest.fixture
def scratch_package(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "chemprop_hpo",
        tmp_path / "chemprop_hpo",
        ignore=shutil.ignore_patterns("__pycache__", "sweeps"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> str:
    return run(BIN / "lint-imports", "--no-cache", "--no-logo", cwd=folder, COLUMNS="300").stdout


def test_every_import_contract_breaks_on_a_forbidden_import(scratch_package: Path) -> None:
    package = scratch_package / "chemprop_hpo"
    (package / "configs/stray.py").write_text("import chemprop_hpo.storage\n")
    (package / "hpo/tracking/stray.py").write_text("import chemprop_hpo.hpo.chemistry\n")
    (package / "hpo/chemistry/stray.py").write_text("import ray, mlflow, typer, optuna\n")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = {contract["name"] for contract in contracts["contracts"]}
    report = lint_imports(scratch_package)
    assert set(re.findall(r"^(.*) BROKEN", report, re.MULTILINE)) == names
    assert report.count("chemistry.stray ->") + report.count("configs.stray ->") >= 6


def test_a_new_room_must_be_given_its_place(scratch_package: Path) -> None:
    (scratch_package / "chemprop_hpo/hpo/attic.py").touch()
    assert "chemprop_hpo.hpo.attic" in lint_imports(scratch_package)


# ----------------------------------------------------------------------------- README


def readme_commands() -> Iterator[list[str]]:
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_readme_names_only_make_commands_that_exist() -> None:
    named = {words[1] for words in readme_commands() if words[0] == "make"}
    assert named
    assert named <= make_targets()


def test_readme_names_only_commands_and_options_that_exist() -> None:
    calls = [words[1:] for words in readme_commands() if words[0] == "chemprop-hpo"]
    paths = {command_path(call) for call in calls}
    helps = {path: run(BIN / "chemprop-hpo", *path, "--help", COLUMNS="200") for path in paths}
    assert {name for name, outcome in helps.items() if outcome.returncode} == set()
    unknown = [
        (call[0], word)
        for call in calls
        for word in call
        if word.startswith("-")
        and word not in re.split(r"[\s,]+", helps[command_path(call)].stdout)
    ]
    assert unknown == []


def command_path(call: list[str]) -> tuple[str, ...]:
    """Return the command, with its subcommand where it has some."""
    return tuple(call[:2] if call[0] == "registry" else call[:1])


def test_readme_lists_every_command_of_the_program() -> None:
    overview = run(BIN / "chemprop-hpo", "--help", COLUMNS="200").stdout
    offered = set(re.findall(r"^  ([a-z]+(?:-[a-z]+)*)  +[A-Z]", overview, re.MULTILINE))
    listed = set(re.findall(r"^\| `([a-z-]+)", readme(), re.MULTILINE))
    assert offered
    assert listed == offered


def test_readme_names_only_files_that_exist() -> None:
    linked = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", readme()))
    sweeps = set(re.findall(r"configs/sweeps/\w+\.yaml", readme()))
    assert {name for name in linked | sweeps if not (ROOT / name).exists()} == set()


def test_readme_example_is_a_sweep_that_loads(tmp_path: Path) -> None:
    from chemprop_hpo.configs.load import load_sweep

    (example,) = re.findall(r"^```yaml\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    config = load_sweep(path).config
    assert config.search_space
    assert config.study_name == "example"
