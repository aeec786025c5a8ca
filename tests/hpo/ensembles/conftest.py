"""Ensembles that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chemprop_hpo.hpo.ensembles.combining import judging
from tests.hpo.ensembles.makers import BLIND, Made, make
from tests.hpo.ensembles.small_studies import (
    molecules,
    stored_study,
    write_table,
)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Let intervals rest on few draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MOST_RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def made(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    blind = folder / "blind.csv"
    blind.write_text("id,smiles\n" + "\n".join(f"{i},{s}" for i, s in enumerate(BLIND)) + "\n")
    write_table(folder / "molecules.csv", molecules(), missing=range(0, 60, 7))
    return make(stored_study(folder, data={"blind_file": str(blind)}), drawn=True)
