"""``ensembles``, from the command line to models that predict."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.hpo.cli import run
from chemprop_hpo.hpo.commands.ensembles import MIN_DISTANCE, Select, go_on_to_ensembles
from chemprop_hpo.hpo.commands.ensembles_outcome import report_ensembles
from chemprop_hpo.hpo.commands.options import LogLevel
from chemprop_hpo.hpo.ensembles import run as ensembles_run
from chemprop_hpo.hpo.ensembles.combining import judging
from chemprop_hpo.hpo.ensembles.configurations.selection import RULES, Limits
from chemprop_hpo.hpo.ensembles.results import writing
from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import ReportContent
from tests.hpo.commands.ended import Done
from tests.hpo.commands.shell import Shell
from tests.hpo.commands.stand_ins import Result
from tests.hpo.ensembles.small_studies import (
    TrainedHere,
    molecules,
    small_sweep,
    stored_study,
    write_table,
)
from tests.hpo.report.made_content import NINE, made_content, without_test

NAN = float("nan")


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study with three complete trials, that nothing was trained of yet."""
    folder = tmp_path_factory.mktemp("study")
    stored_study(
        folder, data={"target_cols": ["polar"], "target_transforms": {}, "target_units": {}}
    )
    return folder


def on(folder: Path) -> list[str]:
    return ["--storage", f"sqlite:///{folder}/studies.db"]


# ------------------------------------------------------------------ to be put right


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--top-k", "4"],
            "study 'small' has 3 complete trials with different hyperparameters, fewer than the 4 "
            "asked for; ask for fewer with -k, or let the sweep go on",
        ),
        (["--splits", "9"], "there is no split 9 of .*molecules.csv; there is split 0"),
        (["--folds", "0,7"], "there is no fold 7 of .*molecules.csv; there are folds 0, 1"),
        (["--folds", "x"], "--folds x: must be numbers with commas between, as in 0,1,2"),
        (["--splits", "0;1"], "--splits 0;1: must be numbers with commas between, as in 0,1,2"),
        (["--splits", ""], "--splits : must be numbers with commas between"),
        (["--folds=-1"], "--folds -1: must be numbers with commas between"),
        (["--select", "diverse", "--min-distance", "0.9"], "or lower --min-distance"),
        (["--select", "worst"], "'worst' is not one of 'best', 'stable', 'diverse'"),
        (["--top-k", "0"], "--top-k': Input should be greater than or equal to 1"),
        (["--study", "smal"], "no study 'smal'.*did you mean"),
        (["data.file=elsewhere.csv"], "elsewhere.csv"),
        (["data.test_file=elsewhere.csv"], "elsewhere.csv"),
        (["model.depth=5"], "its trials were trained with 2, not 5"),
    ],
)
def test_a_mistake_is_said_in_a_line_before_anything_is_trained(
    study_folder: Path, shell: Shell, arguments: list[str], message: str
) -> None:
    assert shell("ensembles", *on(study_folder), *arguments) == 2
    assert re.search(message, shell.err), shell.err
    assert "Traceback" not in shell.err
    assert not (study_folder / "study").exists()


@pytest.mark.parametrize(
    ("targets", "shown"),
    [("[size]", '["size"]'), ("[size,polar]", '["size", "polar"]'), ("[logp]", '["logp"]')],
)
def test_other_targets_than_the_study_s_are_refused_and_nothing_is_stored(
    study_folder: Path, shell: Shell, targets: str, shown: str
) -> None:
    before = stored_in(study_folder)
    assert shell("ensembles", *on(study_folder), f"data.target_cols={targets}") == 2
    assert shell.err.splitlines()[1:] == [
        f"error: study 'small' in sqlite:///{study_folder}/studies.db cannot go on with this "
        "configuration:",
        f'  data.target_cols: ["polar"] in the study, {shown} now',
        "put that right, or begin a new one: chemprop-hpo sweep FILE --study NAME",
    ]
    assert stored_in(study_folder) == before


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "smiles,size\nCCNCCN,3\nNCCCN,4\n",
            "there is no column 'polar'; the columns are: 'smiles', 'size'",
        ),
        (
            "smiles,polar\nCCNCCN,high\n",
            "column 'polar': labels that are no number, in row 2 (1 label, such as 'high'); write "
            "a number, or leave the cell empty",
        ),
    ],
    ids=["no such column", "no numbers"],
)
def test_test_rows_without_the_study_s_target_are_refused_and_nothing_is_stored(
    study_folder: Path, shell: Shell, tmp_path: Path, table: str, message: str
) -> None:
    (tmp_path / "test.csv").write_text(table)
    before = stored_in(study_folder)
    assert shell("ensembles", *on(study_folder), "data.test_file=test.csv", "-o", "out") == 2
    assert shell.err.splitlines()[1:] == [f"error: test.csv: {message}"]
    assert stored_in(study_folder) == before
    assert not Path("out").exists()


def stored_in(folder: Path) -> list[str]:
    """Return all that a database of SQLite holds, and the names of all files beside it."""
    with contextlib.closing(sqlite3.connect(folder / "studies.db")) as connection:
        return [*connection.iterdump(), *sorted(str(path) for path in folder.rglob("*"))]


def test_a_study_without_complete_trials_is_refused(tmp_path: Path, shell: Shell) -> None:
    stored_study(tmp_path, [NAN])
    assert shell("ensembles", *on(tmp_path), "--top-k", "1") == 2
    assert shell.err.splitlines()[-1] == (
        "error: study 'small' has no complete trial to train an ensemble of; "
        "let it go on: chemprop-hpo resume --study small"
    )


def test_a_data_file_that_was_changed_is_refused(tmp_path: Path, shell: Shell) -> None:
    stored_study(tmp_path)
    write_table(tmp_path / "molecules.csv", molecules()[:50])
    assert shell("ensembles", *on(tmp_path)) == 2
    assert "data file: 60 rows" in shell.err
    assert "--accept-changed-data" in shell.err


def test_an_output_that_is_a_file_or_something_else_is_refused(
    study_folder: Path, shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    assert shell("ensembles", *on(study_folder), "-o", "thesis") == 2
    assert "thesis: holds chapter.tex, which no ensemble writes; give -o a folder" in shell.err
    (tmp_path / "out.csv").touch()
    assert shell("ensembles", *on(study_folder), "-o", "out.csv") == 2
    assert "out.csv: is a file; give -o a folder" in shell.err


def test_the_options_know_what_the_rules_are() -> None:
    assert tuple(rule.value for rule in Select) == RULES
    assert Limits.distance == MIN_DISTANCE


# ------------------------------------------------------------------ a regression


@contextlib.contextmanager
def trained_here(*failing: tuple[int, int, int]) -> Iterator[TrainedHere]:
    """Train members in this process, and draw rows less often."""
    training = TrainedHere(failing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensembles_run, "train_members", training)
        patch.setattr(judging, "MOST_RESAMPLES", 20)
        patch.setattr(writing, "write_report", lambda *_: None)
        yield training


@pytest.fixture(scope="module")
def regression(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("regression")
    out, err = io.StringIO(), io.StringIO()
    with trained_here((0, 0, 1)), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["ensembles", *on(study_folder), "--top-k", "2", "-o", str(folder / "models")])
    return Done(folder, code, out.getvalue(), err.getvalue())


def test_the_most_recent_study_is_taken_and_each_choice_is_explained(regression: Done) -> None:
    assert regression.code == 0, regression.err
    assert regression.err.startswith("most recent study: small\n")
    assert "trial 1: rank 1 (value 0.2, the next best)" in regression.err
    assert "trial 0: rank 2 (value 0.3, the next best)" in regression.err


def test_a_table_compares_single_best_ranks_and_combination(regression: Done) -> None:
    lines = regression.out.splitlines()
    assert lines[0] == "RMSE on test rows, of the combination with its 95 % interval"
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        "target",
        "single best",
        "rank 1",
        "rank 2",
        "combined",
        "weights",
    ]
    figures = pd.read_csv(regression.folder / "models" / "figures.csv")
    of_test = figures[(figures["part"] == "test") & (figures["figure"] == "rmse")]
    values = [f"{value:.3g}" for value in of_test["value"]]
    low, high = of_test[["low_95", "high_95"]].iloc[-1]
    assert re.split(r"\s{2,}", lines[2].strip())[:5] == [
        "polar",
        *values[:-1],
        f"{values[-1]} [{low:.3g}, {high:.3g}]",
    ]


def test_a_member_that_failed_is_named_with_its_reason(regression: Done) -> None:
    assert regression.err.splitlines()[-2:] == [
        "trial 0 split 0 fold 1 has no model: ValueError: too hard",
        "the ensembles do without; the same command with --retry-failed trains them once more",
    ]


def test_the_last_lines_say_what_to_do_next(regression: Done) -> None:
    models = regression.folder / "models"
    assert regression.out.splitlines()[-3:] == [
        "what to do next:",
        f"  open {models}/report.html",
        f"  chemprop-hpo predict --ensemble {models} INPUT.csv -o OUTPUT.csv",
    ]


def test_what_it_made_predicts(regression: Done, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("name,smiles\na,CCCO\nb,no molecule\nc,CCN\n")
    models = str(regression.folder / "models")
    assert shell("predict", "--ensemble", models, "new.csv", "-o", "out.csv") == 0
    shown = pd.read_csv("out.csv")
    assert shown["name"].tolist() == ["a", "b", "c"]
    assert shown["polar_mean"].notna().tolist() == [True, False, True]
    assert shown["valid"].tolist() == [True, False, True]
    assert (shown["polar_low_95"] < shown["polar_mean"])[[0, 2]].all()
    assert "molecule" in shown["error"][1]


def test_a_predictor_with_a_changed_model_is_refused(
    regression: Done, shell: Shell, tmp_path: Path
) -> None:
    shutil.copytree(regression.folder / "models" / "combined", tmp_path / "copy")
    model = next((tmp_path / "copy" / "models").iterdir())
    model.write_bytes(model.read_bytes() + b"x")
    (tmp_path / "new.csv").write_text("smiles\nCCCO\n")
    assert shell("predict", "--ensemble", "copy", "new.csv", "-o", "out.csv") == 2
    assert model.name in shell.err
    assert not Path("out.csv").exists()


def test_the_same_command_trains_nothing(
    regression: Done, study_folder: Path, shell: Shell
) -> None:
    models = regression.folder / "models"
    before = (models / "figures.csv").read_text()
    with trained_here() as training:
        assert shell("ensembles", *on(study_folder), "-k", "2", "-o", str(models)) == 0
    assert training.trained == []
    assert (models / "figures.csv").read_text() == before
    assert regression.out == shell.out


def test_ensembles_of_other_trials_are_replaced_by_force_only(
    regression: Done, study_folder: Path, shell: Shell, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(regression.folder / "models", copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    command = ("ensembles", *on(study_folder), "--top-k", "1", "--folds", "0", "-o", str(copy))
    with trained_here() as training:
        assert shell(*command) == 2
        assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
        held, now = "the top 2 (trials 1, 0; folds 0, 1)", "the top 1 (trial 1; fold 0)"
        assert shell.err.splitlines()[-1] == (
            f"error: {copy}: holds {held}, and now {now} is asked for; add --force to replace it, "
            "or name another folder with -o"
        )
        assert shell(*command, "--force") == 0
        assert f"{copy}: held {held}, which is replaced by {now}" in shell.err
    assert training.trained == []
    assert sorted(path.parent.name for path in copy.glob("*/manifest.json")) == [
        "combined",
        "rank_1",
    ]


def test_failed_members_are_trained_again_on_demand(
    study_folder: Path, shell: Shell, tmp_path: Path, regression: Done
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study_folder, copy)
    with trained_here() as training:
        code = shell(
            "ensembles", *on(copy), "-k", "2", "--retry-failed", f"study.folder={copy}/study"
        )
    assert (code, training.trained) == (0, [(0, 0, 1)])
    assert "has no model" not in shell.err


def test_ensembles_of_another_study_are_not_overwritten(
    regression: Done, shell: Shell, tmp_path: Path
) -> None:
    loaded = stored_study(tmp_path)
    other = load_stored({**loaded.stored, "study": {**loaded.stored["study"], "name": "other"}})
    assert other.config.study_name == "other"
    stored_study(tmp_path, study=dict(other.stored["study"]))
    models = str(regression.folder / "models")
    assert shell("ensembles", *on(tmp_path), "--study", "other", "-o", models) == 2
    assert f"{models}: holds ensembles of study 'small'; give -o another folder" in shell.err


# ------------------------------------------------------------------ what is printed


def printed(
    content: ReportContent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    result: Any = SimpleNamespace(content=content, failed=[], folder=Path("/models/esol"))
    report_ensembles(result)
    return capsys.readouterr().out.splitlines()


def test_nine_targets_and_three_ranks_keep_their_figures_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = made_content(NINE)
    lines = printed(content, monkeypatch, capsys)
    assert lines[0].startswith("RMSE in original units on test rows")
    assert lines[2].startswith("macro RAE")
    text = "\n".join(lines)
    for i, target in enumerate(content.targets):
        judged = [one.targets[i].test for one in content.ensembles]
        values = [f"{one.figures['rmse'].value:.3g}" for one in judged if one is not None]
        (row,) = [line for line in lines if line.split()[-1:] != [] and values == _figures_of(line)]
        assert row.split()[0] == target.name.split()[0]
        assert row.split()[-1] == content.combinations[i].used
    assert "…" not in text
    assert "(µM)" in text


def _figures_of(line: str) -> list[str]:
    return re.findall(r"(?<=  )[\d.e+]+(?=  | \[)", line)


def test_without_test_rows_it_is_said_what_the_single_best_is_judged_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(without_test(made_content(NINE[:1])), monkeypatch, capsys)
    assert lines[0] == "RMSE on out-of-fold rows, of the combination with its 95 % interval"
    assert lines[3] == (
        "single best is judged on its own validation fold only, the others on all rows"
    )


def test_a_figure_that_is_not_defined_is_called_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = made_content(NINE[:1], task="classification")
    one = content.ensembles[-1].targets[0]
    assert one.test is not None
    figures = {**one.test.figures, "roc_auc": Interval(NAN, NAN, NAN)}
    target = replace(one, test=replace(one.test, figures=figures))
    last = replace(content.ensembles[-1], targets=(target,))
    content = replace(content, ensembles=(*content.ensembles[:-1], last))
    lines = printed(content, monkeypatch, capsys)
    assert lines[0].startswith("ROC-AUC on test rows")
    assert lines[2].split()[-2] == "undefined"
    assert "nan" not in "\n".join(lines)


# ------------------------------------------------------------------ from a sweep


@pytest.mark.parametrize(
    ("enabled", "reason", "goes_on"),
    [(True, "finished", True), (True, "time_budget", False), (False, "finished", False)],
)
def test_only_a_finished_sweep_that_asks_for_it_goes_on(
    study_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    enabled: bool,
    reason: str,
    goes_on: bool,
) -> None:
    wishes: list[Any] = []
    monkeypatch.setattr(
        "chemprop_hpo.hpo.commands.ensembles._train",
        lambda loaded, wish, level: wishes.append(wish),
    )
    loaded = small_sweep(study_folder, transfer_learning={"enabled": enabled, "top_k": 2})
    go_on_to_ensembles(Result(reason=reason), loaded, LogLevel.INFO)  # type: ignore[arg-type]  # a stand-in
    assert [(wish.top_k, wish.force) for wish in wishes] == ([(2, True)] if goes_on else [])


def test_a_sweep_that_goes_on_replaces_its_earlier_ensembles_and_says_so(
    shell: Shell, tmp_path: Path
) -> None:
    loaded = stored_study(tmp_path, transfer_learning={"enabled": True, "top_k": 1})
    with trained_here():
        assert shell("ensembles", *on(tmp_path), "--top-k", "2", "--folds", "0") == 0
        go_on_to_ensembles(Result(reason="finished"), loaded, LogLevel.INFO)  # type: ignore[arg-type]  # a stand-in
    folder = tmp_path / "study" / "ensembles"
    held, now = "the top 2 (trials 1, 0; fold 0)", "the top 1 (trial 1; folds 0, 1)"
    assert f"{folder}: held {held}, which is replaced by {now}" in shell.capsys.readouterr().err
    assert not (folder / "rank_2").exists()


def test_a_sweep_with_too_few_complete_trials_says_which_key_asks_for_more(
    study_folder: Path,
) -> None:
    loaded = small_sweep(study_folder, transfer_learning={"enabled": True, "top_k": 9})
    with pytest.raises(UsageError, match=r"finished, but transfer_learning.top_k asks for 9 conf"):
        go_on_to_ensembles(Result(reason="finished"), loaded, LogLevel.INFO)  # type: ignore[arg-type]  # a stand-in
