"""Each example file passes a dry run on a table with its columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.hpo.plan import plan_sweep

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


def table_for(file: Path, folder: Path) -> Path:
    """Write a table of small molecules that has the columns which an example names."""
    data = load_sweep(file).config.data
    targets = len(data.target_cols)
    with (folder / "table.csv").open("w", newline="") as file_:
        rows = csv.writer(file_)
        rows.writerow([data.smiles_col, *data.target_cols])
        for i in range(200):
            smiles = (
                "C" * (1 + i // 20) + "Oc1ccccc1" + "C" * (i % 20) + "c1ccccc1"
            )  # twenty scaffolds
            rows.writerow([smiles, *(1 + (i * 7 + j) % 50 for j in range(targets))])
    return folder / "table.csv"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_passes_a_dry_run(file: Path, tmp_path: Path) -> None:
    here = [
        f"data.file={table_for(file, tmp_path)}",
        f"study.storage=sqlite:///{tmp_path}/studies.db",
        "resources.cpus_per_trial=1",
        "resources.gpus_per_trial=0",
    ]
    plan = plan_sweep(load_sweep(file, here))
    assert len(plan.samples) == 5
    assert plan.space_tree
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_the_four_examples_are_there() -> None:
    assert [file.stem for file in EXAMPLES] == ["esol", "esol_grid", "expansionrx", "freesolv"]


def test_the_grid_of_the_plan_has_its_162_points(tmp_path: Path) -> None:
    file = ROOT / "configs" / "sweeps" / "esol_grid.yaml"
    table = table_for(file, tmp_path)
    storage = f"study.storage=sqlite:///{tmp_path}/studies.db"
    plan = plan_sweep(load_sweep(file, [f"data.file={table}", storage]))
    assert plan.space_size == "162 points in 1 branch"
