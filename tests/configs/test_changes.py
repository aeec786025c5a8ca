from __future__ import annotations

from typing import Any

import pytest

from chemprop_hpo.configs.changes import refused_changes
from chemprop_hpo.configs.load import LoadedSweep

TEXT = """
data: {file: a.csv, target_cols: [y]}
model: {dropout: 0.1, depth: 4}
search_space:
  depth: {type: randint, low: 2, high: 6}
enqueue: [{depth: 3}]
"""
GRID = TEXT + "sampler: {type: grid}\n"


@pytest.fixture
def stored(load) -> Any:
    def stored_of(text: str, *overrides: str) -> dict[str, Any]:
        loaded: LoadedSweep = load(text, *overrides)
        return loaded.stored

    return stored_of


@pytest.mark.parametrize(
    "free",
    [
        "num_samples=7",
        "data.file=/elsewhere/a.csv",
        "study.folder=/elsewhere",
        "mlflow.tracking=false",
        "resources.cpus_per_trial=2",
        "ray.address=auto",
        "time_budget_s=60",
        "checkpoint_every_s=1",
        "transfer_learning.top_k=5",
        "optimization.num_workers=2",
        "model.depth=5",  # searched: each trial says its own
        "search_space.depth.high=7",
        "search_space.dropout={type: uniform, low: 0, high: 0.4}",
        # How long trials train, and who chooses them and stops them:
        "scheduler.max_t=90",
        "scheduler.type=none",
        "sampler.type=random",
        "optimization.patience=5",
    ],
)
def test_what_leaves_trials_what_they_are_may_change(stored, free):
    assert refused_changes(stored(TEXT), stored(TEXT, free)) == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.dropout=0.3", "model.dropout: its trials were trained with 0.1, not 0.3"),
        (
            "optimization.batch_size=32",
            "optimization.batch_size: its trials were trained with 64, not 32",
        ),
        ("optimization.lr=0.001", "optimization.lr: its trials were trained with null"),
        ("seed=3", "seed: the study has 0, not 3"),
        ("base=false", "base: the study has given out its first trials"),
        ("enqueue=[{depth: 5}]", "enqueue: the study has given out its first trials"),
        ("sampler.type=grid", "sampler.type: a grid is tried from its first point on"),
    ],
)
def test_what_would_change_the_meaning_of_finished_trials_is_refused(stored, override, line):
    (refused,) = refused_changes(stored(TEXT), stored(TEXT, override))
    assert refused.startswith(line)


def test_a_base_value_may_not_change_with_the_search_for_it(stored):
    searched = "search_space.dropout={type: uniform, low: 0, high: 0.4}"
    (line,) = refused_changes(stored(TEXT), stored(TEXT, searched, "model.dropout=0.3"))
    assert line.startswith("model.dropout: ")


def test_the_base_value_of_an_untaken_branch_may_not_change(stored):
    space = "  batch_norm: {type: choice, choices: [true, false], condition: depth > 3}\n"
    text = TEXT.replace("enqueue", space + "enqueue")
    (line,) = refused_changes(stored(text), stored(text, "model.batch_norm=true"))
    assert line == "model.batch_norm: its trials were trained with false, not true"


def test_a_grid_keeps_its_points_and_can_be_left(stored):
    wider = refused_changes(stored(GRID), stored(GRID, "search_space.depth.high=7"))
    assert wider == ["search_space: a grid that was begun keeps its points"]
    left = stored(GRID), stored(GRID, "sampler.type=tpe", "search_space.depth.high=7")
    assert refused_changes(*left) == []


def test_keys_of_another_version_are_passed_over(stored):
    older, now = stored(TEXT), stored(TEXT)
    del older["model"]["activation"], older["scheduler"]["brackets"], older["enqueue"]
    older["model"]["gone"] = 1
    now["model"]["activation"] = "ELU"
    assert refused_changes(older, now) == []
