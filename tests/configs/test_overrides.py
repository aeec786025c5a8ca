from __future__ import annotations

from pathlib import Path

import pytest

FILE = """
data:
  file: a.csv
  target_cols: [y, z]
base: false
split: null
search_space:
  depth: {type: randint, low: 2, high: 6}
enqueue:
  - {depth: 3}
"""


def test_overrides_set_values_of_every_type(load):
    config = load(
        FILE,
        "num_samples=7",
        "base=true",
        "optimization.max_lr=2e-3",
        "study.name=a=b",
        "data.target_cols=[a, b]",
        "data.target_cols.1=c",
        "data.target_transforms={a: log10}",
        "split.method=scaffold",
        "search_space.depth.high=4",
        "search_space.dropout={type: uniform, low: 0, high: 0.3}",
        "enqueue.0.depth=4",
        "time_budget_s=null",
    ).config
    assert (config.num_samples, config.base, config.time_budget_s) == (7, True, None)
    assert config.optimization.max_lr == 0.002
    assert config.study.name == "a=b"
    assert config.data.target_cols == ("a", "c")
    assert config.split.method == "scaffold"
    assert (config.search_space["depth"].high, config.search_space["dropout"].high) == (4, 0.3)
    assert config.enqueue == ({"depth": 4},)


def test_the_last_override_of_a_key_wins(load):
    assert load(FILE, "seed=1", "seed=2").config.seed == 2


def test_an_override_does_not_touch_the_file(load):
    load(FILE, "seed=1")
    assert "seed" not in Path("sweep.yaml").read_text()


@pytest.mark.parametrize(
    ("override", "rest"),
    [
        ("seed", "write it as key=value, such as scheduler.max_t=50"),
        ("=3", "write it as key=value, such as scheduler.max_t=50"),
        ("data.=3", "write it as key=value, such as scheduler.max_t=50"),
        ("study.name=a: b: c", "its value is not valid YAML; put quotes around it"),
        ("study.name=[a", "its value is not valid YAML; put quotes around it"),
        ("data.file.x=3", "data.file has no keys, so data.file.x leads nowhere"),
        ("data.target_cols.2=x", "data.target_cols has items 0 to 1, no '2'"),
        ("data.target_cols.a=x", "data.target_cols has items 0 to 1, no 'a'"),
        ("data.smiles_cl=S", "data.smiles_cl is unknown; did you mean smiles_col?"),
        ("mdoel.depth=3", "mdoel is unknown; did you mean model?"),
        ("depth=3", "depth is unknown; did you mean model.depth?"),
        ("model.dept.x=3", "model.dept is unknown; did you mean depth?"),
        ("search_space.dept.high=4", "search_space.dept is not in the file; did you mean depth?"),
        ("search_space.depth.hihg=4", "search_space.depth.hihg is unknown; did you mean high?"),
        ("search_space.dept={type: fixed, value: 3}", "search_space.dept is unknown; did you mean"),
        ("search_space.depth.high=1", "search_space.depth has low 2 above high 1"),
        ("model.depth=x", "model.depth must be a whole number, not 'x'"),
        ("data.target_weights=[1]", "data.target_weights has 1 values for 2 target_cols"),
        ("data.data_dir=d", "data.file and data.data_dir exclude each other; keep one"),
        ("task=clasification", "task is 'clasification'; did you mean classification?"),
    ],
)
def test_a_wrong_override_is_named_instead_of_a_line(problems, override, rest):
    (line,) = problems(FILE, override)
    assert line.startswith(f"override {override}: {rest}")


def test_problems_of_the_file_and_of_overrides_come_together(problems):
    found = problems(FILE + "sede: 1\n", "search_space.dept.high=4", "model.depth=0", "noise")
    assert [line.split(":")[0] for line in found] == [
        "sweep.yaml",
        "override model.depth=0",
        "override search_space.dept.high=4",
        "override noise",
    ]
