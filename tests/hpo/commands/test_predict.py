"""``predict``, from the command line to the file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from chemprop_hpo.hpo.commands.pace import Pace
from chemprop_hpo.hpo.predictor import load_ensemble, write_predictor
from chemprop_hpo.hpo.predictor.manifest import Target
from chemprop_hpo.hpo.predictor.streaming import Counts
from tests.hpo.commands.shell import Shell, in_a_process
from tests.hpo.predictor.made_predictors import make_content, make_fold, make_member


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    members = [make_member(folder, make_fold(), number=number, weights=(0.5,)) for number in (0, 1)]
    write_predictor(folder / "ensembles" / "combined", make_content(members, (Target(name="y"),)))
    return folder / "ensembles" / "combined"


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text("name,smiles\na,CCO\nb,nonsense\nc,c1ccccc1C(=O)NC2CC2\n")
    return path


def test_a_file_is_predicted(shell: Shell, predictor: Path, molecules: Path) -> None:
    assert shell("predict", "--ensemble", str(predictor), "new.csv", "-o", "out.csv") == 0
    written = pd.read_csv("out.csv")
    expected = load_ensemble(predictor).predict(written["smiles"])
    assert list(written.columns) == ["name", "smiles", *expected.columns[1:]]
    assert written["y_mean"].tolist() == pytest.approx(expected["y_mean"].tolist(), nan_ok=True)
    assert shell.err == "2 models of study alkanes predict y\n"
    assert shell.out == (
        "3 rows written to out.csv: 1 without a prediction (column error says why), "
        "1 far from the training molecules (similarity below 0.3)\n"
    )


def test_of_several_predictors_the_combined_one_is_taken(
    shell: Shell, predictor: Path, molecules: Path
) -> None:
    assert shell("predict", "--ensemble", str(predictor.parent), "new.csv", "-o", "out.csv") == 0
    assert Path("out.csv").exists()


def test_an_output_that_exists_needs_force(shell: Shell, predictor: Path, molecules: Path) -> None:
    Path("out.csv").write_text("mine")
    command = ["predict", "--ensemble", str(predictor), "new.csv", "-o", "out.csv"]
    assert shell(*command) == 2
    assert shell.err == (
        "error: out.csv: exists already; replace it with --force, or name another file\n"
    )
    assert shell(*command, "--force") == 0
    assert len(pd.read_csv("out.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smiles-col", "nam"], "there is no column 'nam'; did you mean 'name'?"),
        (["--ensemble", "nothing"], "nothing: there is no such folder"),
        (["--ensemble", "."], ".: is no predictor, since it has no manifest.json"),
        (["--device", "tpu"], "'tpu' is not one of 'cpu', 'cuda'"),
        (["missing.csv"], "missing.csv: there is no such file"),
        (["--ensemble", "nothing", "missing.csv"], "missing.csv: there is no such file"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    shell: Shell, predictor: Path, molecules: Path, arguments: list[str], message: str
) -> None:
    source = [] if arguments[-1].endswith(".csv") else ["new.csv"]
    command = ["predict", "--ensemble", str(predictor), "-o", "out.csv", *source, *arguments]
    assert shell(*command) == 2
    assert message in shell.err
    assert shell.err.count("error: ") == 1
    assert not Path("out.csv").exists()


def test_a_changed_model_is_refused_before_it_is_opened(
    shell: Shell, molecules: Path, tmp_path: Path
) -> None:
    member = make_member(tmp_path, make_fold())
    write_predictor(tmp_path / "predictor", make_content([member], (Target(name="y"),)))
    (model,) = (tmp_path / "predictor" / "models").iterdir()
    model.write_bytes(model.read_bytes() + b"!")
    assert shell("predict", "--ensemble", "predictor", "new.csv", "-o", "out.csv") == 2
    assert re.search(r"models/rank_1_split_0_fold_0\.pt: the file is not the one that", shell.err)
    assert shell.err.count("\n") == 1


def test_it_needs_neither_ray_nor_mlflow_nor_optuna(predictor: Path, molecules: Path) -> None:
    done = in_a_process("predict", "--ensemble", str(predictor), "new.csv", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "IMPORTED torch lightning"


ENDLESS = """
import sys, time
from chemprop_hpo.hpo.cli import run
from chemprop_hpo.hpo.predictor import streaming
real = streaming._predicted
def slow(*arguments):
    print("BEGAN", flush=True)
    time.sleep(60)
streaming._predicted = slow
sys.exit(run(sys.argv[1:]))
"""


def test_ctrl_c_leaves_nothing_behind(predictor: Path, molecules: Path, tmp_path: Path) -> None:
    arguments = ["predict", "--ensemble", str(predictor), "new.csv", "-o", "out.csv"]
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "BEGAN\n"
    process.send_signal(2)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped by SIGINT; nothing is left running"
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_the_pace_is_that_since_the_start() -> None:
    times = iter([100.0, 110.0, 110.0])
    pace = Pace(clock=lambda: next(times))
    assert pace.line(Counts(12_000, share=0.25)) == (
        "12,000 rows, 1,200 a second, 25%, less than a minute left"
    )
    assert pace.line(Counts(12_000)) == "12,000 rows, 1,200 a second"


def test_now_and_then_a_line_is_printed_where_there_is_no_terminal(
    shell: Shell, predictor: Path, molecules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chemprop_hpo.hpo.commands.pace.PLAIN_LINE_S", 0.0)
    assert shell("predict", "--ensemble", str(predictor), "new.csv", "-o", "out.csv") == 0
    assert re.search(r"^3 rows, \d+ a second, 100%$", shell.err, re.MULTILINE)
