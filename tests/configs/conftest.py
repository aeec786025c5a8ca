"""Small sweep files, written where a test wants them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.load import LoadedSweep, load_sweep

Load = Callable[..., LoadedSweep]
Problems = Callable[..., list[str]]

DATA = """
data:
  file: a.csv
  target_cols: [y]
"""


def write(folder: Path, text: str, name: str = "sweep.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as sweep.yaml of the working directory."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *overrides: str) -> LoadedSweep:
        write(tmp_path, text)
        return load_sweep(Path("sweep.yaml"), overrides)

    return load_text


@pytest.fixture
def problems(load: Load) -> Problems:
    """Return the problems of a text, one a line."""

    def problems_of(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        assert caught.value.exit_code == 2
        return list(caught.value.problems)

    return problems_of


@pytest.fixture
def space_problems(problems: Problems) -> Problems:
    """Return the problems of a search space, without the place before the keys."""

    def problems_of(space: str, more: str = "base: false") -> list[str]:
        text = DATA + more + "\nsearch_space:\n" + textwrap.indent(textwrap.dedent(space), "  ")
        found = [line.split(": ", 1)[1] for line in problems(text)]
        return [line.removeprefix("search_space.") for line in found]

    return problems_of
