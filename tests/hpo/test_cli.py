"""The commands: their help, their output, and what they say to a mistake."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from chemprop_hpo import __version__
from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.hpo.cli import run
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.drivers import Driver
from chemprop_hpo.storage.studies import StudyRecord, open_or_create_study, open_study

COMMANDS = ["sweep", "resume", "top-k", "status", "studies", "delete", "validate", "schema"]
SECRET = "hunter2/@x"

SWEEP_YAML = """\
data: {file: esol.csv, target_cols: [logS]}
num_samples: 12
scheduler: {max_t: 30, grace_period: 5}
search_space:
  depth: {type: randint, low: 2, high: 6}
  max_lr: {type: loguniform, low: 1.0e-4, high: 1.0e-2}
  ffn_type: {type: choice, choices: [regression, branched]}
  trunk_n_layers: {type: randint, low: 1, high: 3, condition: "ffn_type == 'branched'"}
"""
DISTRIBUTIONS = {
    "depth": IntDistribution(2, 6),
    "max_lr": FloatDistribution(1e-4, 1e-2, log=True),
    "ffn_type": CategoricalDistribution(["regression", "branched"]),
    "trunk_n_layers": IntDistribution(1, 3),
}
PLAIN = {"depth": 3, "max_lr": 0.0012345678901234567, "ffn_type": "regression"}
BRANCHED = {"depth": 5, "max_lr": 0.004, "ffn_type": "branched", "trunk_n_layers": 2}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHEMPROP_HPO_STORAGE", raising=False)
    log = logging.getLogger("chemprop_hpo")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    path = tmp_path / "esol.yaml"
    path.write_text(SWEEP_YAML)
    (tmp_path / "esol.csv").write_text("smiles,logS\nCCO,1.1\n")
    return path


@dataclass
class Shell:
    """Runs commands in this process and keeps what they print."""

    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def __call__(self, *arguments: str) -> int:
        code = run(arguments)
        self.out, self.err = self.capsys.readouterr()
        return code


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def finished(params: dict[str, Any], value: float, **attributes: Any) -> Any:
    return create_trial(
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        value=value,
        user_attrs={
            "head": params["ffn_type"],
            "stop_reason": "max_t",
            "epochs": 30,
            "best_epoch": 24,
            "seed": 7,
            "metrics": {"val_rmse": 0.7, "val_r2": 0.81, "generalisation_gap": 0.1},
            **attributes,
        },
    )


def ended(params: dict[str, Any], state: TrialState, reason: str, epochs: int) -> Any:
    return create_trial(
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        state=state,
        intermediate_values=dict.fromkeys(range(1, epochs + 1), 0.9),
        user_attrs={"head": "regression", "stop_reason": reason, "epochs": epochs},
    )


def make_study(name: str, sweep_file: Path, url: str = "sqlite:///studies.db") -> None:
    stored = load_sweep(
        sweep_file, [f"study.name={json.dumps(name)}", f"study.storage={url}"]
    ).stored
    record = StudyRecord(
        config=stored,
        metric="val_loss",
        mode="min",
        space=stored["search_space"],
        space_hash="0",
        data={"esol.csv": {"sha256": "ab", "rows": 3}},
        seed=0,
        folder=f"studies/{name}",
    )
    with open_database(url) as database:
        study, _ = open_or_create_study(database, name, record)
        study.add_trial(finished(PLAIN, 0.5))
        study.add_trial(finished(BRANCHED, 0.3))
        study.add_trial(ended(PLAIN, TrialState.PRUNED, "asha", 5))
        study.add_trial(ended(PLAIN, TrialState.FAIL, "nan", 2))
        study.add_trial(ended(PLAIN, TrialState.FAIL, "interrupted", 4))
        study.add_trial(finished(BRANCHED, 0.4, seed=8))


@pytest.fixture(scope="module")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "esol.yaml").write_text(SWEEP_YAML)
    make_study("esol", folder / "esol.yaml", f"sqlite:///{folder}/studies.db")
    return folder / "studies.db"


@pytest.fixture
def study(sweep_file: Path, made_study: Path, tmp_path: Path) -> str:
    shutil.copy(made_study, tmp_path / "studies.db")
    return "esol"


def in_a_process(*arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    code = f"""
import sys
from chemprop_hpo.hpo.cli import run
{textwrap.dedent(script)}
code = run({list(arguments)!r})
heavy = [m for m in ("torch", "ray", "optuna", "mlflow", "lightning") if m in sys.modules]
print("IMPORTED", *heavy, file=sys.stderr)
sys.exit(code)
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


# ----------------------------------------------------------------------------- help


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_teaches_with_an_example(self, command: str, shell: Shell) -> None:
        assert shell(command, "--help") == 0
        assert "Examples:" in shell.out
        assert f"\n    chemprop-hpo {command}" in shell.out

    def test_no_help_imports_what_is_heavy(self) -> None:
        more = "\n".join(f"run([{c!r}, '--help'])" for c in COMMANDS)
        done = in_a_process("--help", script=more)
        assert done.returncode == 0
        assert done.stderr.strip() == "IMPORTED"

    def test_the_program_alone_shows_its_commands(self, shell: Shell) -> None:
        assert shell() == 2
        for command in COMMANDS:
            assert f"\n  {command} " in shell.out

    def test_version(self, shell: Shell) -> None:
        assert shell("--version") == 0
        assert shell.out == f"chemprop-hpo {__version__}\n"

    def test_the_module_is_the_same_program(self) -> None:
        script = Path(sys.executable).with_name("chemprop-hpo")
        both = [
            subprocess.run([*start, "swep"], capture_output=True, text=True, check=False)
            for start in ([sys.executable, "-m", "chemprop_hpo"], [str(script)])
        ]
        assert both[0].stderr == both[1].stderr
        assert "Did you mean 'sweep'?" in both[0].stderr
        assert [done.returncode for done in both] == [2, 2]


# ----------------------------------------------------------------------------- mistakes


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["swep"], "Did you mean 'sweep'?"),
            (["sweep"], "Missing argument 'FILE'"),
            (["sweep", "none.yaml"], "none.yaml: no such file"),
            (["sweep", "esol.yaml", "--dryrun"], "No such option: --dryrun"),
            (["sweep", "esol.yaml", "seed"], "'seed' is no override; write key=value"),
            (["sweep", "esol.yaml", "=3"], "'=3' is no override"),
            (["validate", "esol.yaml", "model.dept=4"], "model.dept"),
            (["validate", "esol.yaml", "--log-level", "LOUD"], "No such option"),
            (["sweep", "esol.yaml", "--log-level", "LOUD"], "'LOUD' is not one of"),
            (["top-k", "-k", "0"], "-k"),
            (["top-k", "-k", "three"], "-k"),
            (["top-k", "--format", "xml"], "'xml' is not one of"),
            (["top-k", "--storage", "studies.db"], "studies.db"),
            (["top-k", "--storage", "nosuchdb://x"], "nosuchdb"),
            (["resume", "--num-samples", "0"], "--num-samples"),
            (["resume", "esol"], "'esol' is no override"),
            (["delete"], "--study"),
            (["schema", "extra"], "extra"),
        ],
    )
    def test_a_mistake_is_one_line_and_exit_code_2(
        self, arguments: list[str], words: str, sweep_file: Path, shell: Shell
    ) -> None:
        assert shell(*arguments) == 2
        assert words in shell.err
        assert shell.err.startswith("error: ")
        assert shell.err.count("\n") == 1
        assert shell.out == ""

    def test_every_problem_of_a_file_is_a_line(self, sweep_file: Path, shell: Shell) -> None:
        sweep_file.write_text(SWEEP_YAML + "modle: {}\nseeed: 1\n")
        assert shell("validate", str(sweep_file)) == 2
        lines = shell.err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith("error: ") for line in lines)

    def test_every_wrong_override_is_named(self, sweep_file: Path, shell: Shell) -> None:
        assert shell("sweep", str(sweep_file), "one", "seed=1", "two") == 2
        assert [line.split(";")[0] for line in shell.err.splitlines()] == [
            "error: 'one' is no override",
            "error: 'two' is no override",
        ]

    @pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
    def test_every_missing_file_of_data_is_a_line_before_anything_is_started(
        self, dry_run: list[str], sweeps: Any, sweep_file: Path, tmp_path: Path, shell: Shell
    ) -> None:
        before = sorted(tmp_path.iterdir())
        missing = ["data.test_file=held_out.csv", "data.blind_file=next.csv"]
        assert shell("sweep", str(sweep_file), *missing, *dry_run) == 2
        assert shell.err.splitlines() == [
            f"error: {name}: there is no such file; the path starts at {tmp_path}"
            for name in ("held_out.csv", "next.csv")
        ]
        assert sweeps.calls == []
        assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.parametrize("command", ["top-k", "status", "studies", "resume"])
    def test_commands_that_read_create_no_database(self, command: str, shell: Shell) -> None:
        assert shell(command, "--storage", "sqlite:///none.db") == 2
        assert "none.db" in shell.err
        assert "Traceback" not in shell.err
        assert not Path("none.db").exists()

    @pytest.mark.parametrize("command", ["top-k", "status", "delete"])
    def test_an_unknown_study_is_named(self, command: str, study: str, shell: Shell) -> None:
        assert shell(command, "--study", "esoll") == 2
        assert "no study 'esoll'" in shell.err
        assert "did you mean 'esol'?" in shell.err

    def test_more_than_there_are_is_refused(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-k", "4") == 2
        assert "has 3 complete trials" in shell.err
        assert shell.out == ""

    def test_a_file_that_cannot_be_written(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-o", "no/such/folder.csv", "--format", "csv") == 2
        assert "no/such/folder.csv: cannot be written" in shell.err

    def test_debug_adds_the_traceback(self, shell: Shell) -> None:
        assert shell("validate", "none.yaml", "--debug") == 2
        assert "Traceback" in shell.err
        assert shell.err.splitlines()[-1].startswith("error: none.yaml")

    def test_a_password_in_a_mistake_is_not_echoed(self, shell: Shell) -> None:
        for arguments in (
            ["top-k", "--storage", f"nosuchdb://me:{SECRET}@host/db"],
            ["sweep", f"postgresql://me:{SECRET}@host/db"],
            ["validate", "none.yaml", f"postgresql://me:{SECRET}@host/db"],
            ["studies", f"postgresql://me:{SECRET}@host/db", "--debug"],
        ):
            assert shell(*arguments) == 2
            assert "hunter2" not in shell.err + shell.out
            assert "***" in shell.err


# ----------------------------------------------------------------------------- reading


class TestTopK:
    def test_table_ranks_by_value_and_shows_what_matters(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "--study", study) == 0
        lines = shell.out.splitlines()
        assert lines[0] == "study esol in sqlite:///studies.db"
        assert lines[1] == "best trials by val_loss (lower is better)"
        heads = "rank trial val_loss epochs best epoch val_rmse val_r2 gap head"
        assert lines[2].split() == heads.split()
        assert lines[3].split() == ["1", "1", "0.3", "30", "24", "0.7", "0.81", "0.1", "branched"]
        assert [line.split()[:3] for line in lines[3:6]] == [
            ["1", "1", "0.3"],
            ["2", "5", "0.4"],
            ["3", "0", "0.5"],
        ]
        assert "   1  depth=5 max_lr=0.004 ffn_type=branched trunk_n_layers=2" in lines
        assert "   3  depth=3 max_lr=0.001235 ffn_type=regression" in lines
        assert shell.err == ""

    def test_the_most_recent_study_is_named(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "--format", "json") == 0
        assert shell.err == "most recent study: esol\n"

    def test_json_holds_full_records(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-k", "1", "--format", "json") == 0
        document = json.loads(shell.out)
        trial = document["trials"][0]
        assert document["study"] == "esol"
        assert (document["metric"], document["mode"]) == ("val_loss", "min")
        assert trial["rank"] == 1
        assert trial["number"] == 1
        assert trial["params"] == BRANCHED
        assert trial["metrics"]["val_r2"] == 0.81
        assert trial["seed"] == 7

    def test_csv_has_a_column_for_what_any_row_has(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "--format", "csv") == 0
        rows = list(csv.DictReader(io.StringIO(shell.out)))
        assert [row["number"] for row in rows] == ["1", "5", "0"]
        assert [row["params.trunk_n_layers"] for row in rows] == ["2", "2", ""]
        assert float(rows[2]["params.max_lr"]) == PLAIN["max_lr"]

    def test_distinct_counts_equal_configurations_once(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-k", "2", "--distinct", "--format", "json") == 0
        assert [t["number"] for t in json.loads(shell.out)["trials"]] == [1, 0]

    @pytest.mark.parametrize("form", ["table", "json", "yaml", "csv"])
    def test_a_file_gets_what_stdout_would(self, form: str, study: str, shell: Shell) -> None:
        shell("top-k", "--format", form)
        printed = shell.out
        assert shell("top-k", "--format", form, "-o", "best.txt") == 0
        assert shell.out == ""
        assert Path("best.txt").read_text() == printed
        assert "written to best.txt" in shell.err

    def test_yaml_of_one_is_one_training(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-k", "1", "--format", "yaml", "-o", "best.yaml") == 0
        config = load_sweep(Path("best.yaml")).config
        assert config.model.depth == 5
        assert config.model.ffn_type == "branched"
        assert config.model.trunk_n_layers == 2
        assert config.optimization.max_lr == 0.004
        assert (config.num_samples, config.search_space, config.base) == (1, {}, True)
        assert config.scheduler.type == "none"
        assert config.max_epochs == 30
        assert config.study_name == "esol-top1"
        lines = Path("best.yaml").read_text().splitlines()
        assert lines[0] == "# The best configuration of study esol by val_loss (min):"
        assert lines[1] == "#   trial 1: val_loss = 0.3"

    def test_yaml_of_several_trains_exactly_these(self, study: str, shell: Shell) -> None:
        assert shell("top-k", "-k", "3", "--format", "yaml", "-o", "best.yaml") == 0
        config = load_sweep(Path("best.yaml")).config
        assert list(config.enqueue) == [BRANCHED, BRANCHED, PLAIN]
        assert (config.num_samples, config.base) == (3, False)
        assert set(config.search_space) == set(DISTRIBUTIONS)
        assert config.study_name == "esol-top3"

    def test_yaml_keeps_references_and_drops_masked_passwords(
        self, sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRACKER", "sqlite:///tracker.db")
        sweep_file.write_text(SWEEP_YAML + "mlflow: {tracking_uri: '${oc.env:TRACKER}'}\n")
        make_study("esol", sweep_file)
        with open_database("sqlite:///studies.db") as database:
            opened = open_study(database, "esol")
            config = opened.user_attrs["config"]
            config["study"]["storage"] = "postgresql://me:***@host/db"
            opened.set_user_attr("config", config)
        assert shell("top-k", "-k", "1", "--format", "yaml") == 0
        document = yaml.safe_load(shell.out)
        assert document["mlflow"]["tracking_uri"] == "${oc.env:TRACKER}"
        assert "storage" not in document["study"]
        assert "# That study is in postgresql://me:***@host/db" in shell.out

    def test_a_closed_pipe_is_quiet(self, study: str) -> None:
        command = f"'{sys.executable}' -m chemprop_hpo top-k --format json | true"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
        )
        assert done.stderr == "most recent study: esol\n"

    @pytest.mark.parametrize("command", ["top-k", "status", "studies"])
    def test_reading_needs_neither_torch_nor_ray_nor_mlflow(self, command: str, study: str) -> None:
        done = in_a_process(command)
        assert done.returncode == 0
        assert done.stderr.splitlines()[-1] == "IMPORTED optuna"


class TestStatus:
    def test_it_counts_by_state_and_reason(self, study: str, shell: Shell) -> None:
        assert shell("status") == 0
        lines = dict(line.split(maxsplit=1) for line in shell.out.splitlines())
        assert lines["study"] == "esol in sqlite:///studies.db"
        assert lines["metric"] == "val_loss (lower is better)"
        # The interrupted trial used nothing of the budget.
        assert lines["trials"] == (
            "5 of 12 done: 3 complete (3 max_t), 1 stopped early, 2 failed (1 nan, 1 interrupted)"
        )
        assert lines["epochs"] == "101 trained"
        assert lines["best"] == "val_loss 0.3 in trial 1 (branched, epoch 24)"
        assert lines["driver"] == "none at work"
        assert lines["activity"].endswith("ago")
        assert lines["resume"] == "chemprop-hpo resume --study esol"

    def test_it_shows_running_trials_and_who_runs_them(self, study: str, shell: Shell) -> None:
        with open_database("sqlite:///studies.db") as database:
            opened = open_study(database, study)
            Driver.register(database, opened)
            trial = opened.ask()
            trial.report(0.6, 1)
            trial.report(0.45, 2)
        assert shell("status", "--study", study) == 0
        assert "running   trial 6: epoch 2 of 30, best 0.45" in shell.out
        assert f"driver    process {os.getpid()} on " in shell.out

    def test_another_storage_stands_in_the_resume_command(
        self, sweep_file: Path, shell: Shell
    ) -> None:
        make_study("my study", sweep_file, "sqlite:///other.db")
        assert shell("status", "--storage", "sqlite:///other.db") == 0
        expected = "chemprop-hpo resume --study 'my study' --storage sqlite:///other.db"
        assert expected in shell.out

    def test_the_environment_names_the_storage(
        self, sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_study("esol", sweep_file, "sqlite:///other.db")
        monkeypatch.setenv("CHEMPROP_HPO_STORAGE", "sqlite:///other.db")
        assert shell("status") == 0
        assert shell.out.endswith("chemprop-hpo resume --study esol\n")


class TestStudies:
    def test_it_lists_them_with_their_counts(
        self, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        make_study("[bold]second", sweep_file)
        assert shell("studies") == 0
        rows = [line.split() for line in shell.out.splitlines()[2:]]
        assert [row[0] for row in rows] == ["esol", "[bold]second"]
        assert rows[0][1:8] == ["val_loss", "0.3", "3", "1", "2", "0", "12"]

    def test_an_empty_storage_is_said_on_stderr(self, shell: Shell) -> None:
        open_database("sqlite:///studies.db").close()
        assert shell("studies") == 0
        assert shell.out == ""
        assert "no study in sqlite:///studies.db" in shell.err


class TestDelete:
    @pytest.fixture
    def folder(self, study: str) -> Path:
        folder = Path("studies") / study
        folder.mkdir(parents=True)
        (folder / "best.pt").write_bytes(b"0" * 200_000)
        return folder

    def answer(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    def test_it_says_what_it_deletes_and_asks(
        self, study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer("n\n", monkeypatch)
        assert shell("delete", "--study", study) == 1
        assert "6 trials will be deleted" in shell.err
        assert "0.2 MB of checkpoints will be deleted" in shell.err
        assert "nothing was deleted" in shell.err
        assert folder.exists()
        assert shell("status", "--study", study) == 0

    def test_a_yes_deletes_study_and_folder(
        self, study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer("y\n", monkeypatch)
        assert shell("delete", "--study", study) == 0
        assert not folder.exists()
        assert shell("status", "--study", study) == 2

    def test_nobody_there_to_answer_is_told_of_yes(
        self, study: str, folder: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.answer("", monkeypatch)
        assert shell("delete", "--study", study) == 2
        assert "--yes" in shell.err
        assert folder.exists()

    def test_a_study_at_work_is_refused(self, study: str, folder: Path, shell: Shell) -> None:
        with open_database("sqlite:///studies.db") as database:
            Driver.register(database, open_study(database, study))
        assert shell("delete", "--study", study, "--yes") == 2
        assert f"process {os.getpid()}" in shell.err
        assert folder.exists()

    def test_the_working_folder_itself_is_never_deleted(
        self, study: str, shell: Shell, tmp_path: Path
    ) -> None:
        with open_database("sqlite:///studies.db") as database:
            open_study(database, study).set_user_attr("folder", ".")
        assert shell("delete", "--study", study, "--yes") == 0
        assert (tmp_path / "esol.yaml").exists()


class TestValidateAndSchema:
    def test_a_valid_file_is_summed_up_in_a_line(self, sweep_file: Path, shell: Shell) -> None:
        assert shell("validate", str(sweep_file), "num_samples=20") == 0
        assert "study esol, 20 trials, 4 hyperparameters searched, min val_loss" in shell.out

    def test_the_schema_is_pure_json(self, shell: Shell) -> None:
        assert shell("schema") == 0
        assert "search_space" in json.loads(shell.out)["properties"]
        assert shell.err == ""


# ----------------------------------------------------------------------------- running


@dataclass
class Result:
    """What a sweep returns."""

    study: str = "esol"
    storage: str = "sqlite:///studies.db"
    counts: dict[str, int] = field(default_factory=dict)
    best: object = None
    signal: int | None = None
    reason: str = "finished"


@dataclass
class Plan:
    """What a dry run returns."""

    config_yaml: str = "seed: 0\nnum_samples: 12\n"
    data_lines: list[str] = field(default_factory=lambda: ["900 molecules to train on"])
    resource_lines: list[str] = field(default_factory=lambda: ["2 trials at a time"])
    storage_line: str = "study 'esol' would be created"
    space_tree: str = "depth\n└── width"
    space_size: str = "162 points"
    samples: list[dict[str, Any]] = field(default_factory=lambda: [{"depth": 3}, {"depth": 4}])


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for the sweep itself, which has its own tests, and keep what it is given."""
    module = ModuleType("chemprop_hpo.hpo.sweep")
    module.result, module.calls = Result(), []  # type: ignore[attr-defined]  # for the tests

    def start_sweep(loaded: Any, *, observers: Any = ()) -> Any:
        return _answer(module, {"loaded": loaded, "observers": observers})

    def resume_sweep(name: str, url: str, **options: Any) -> Any:
        return _answer(module, {"name": name, "url": url, **options})

    module.start_sweep = start_sweep  # type: ignore[attr-defined]  # as the real one
    module.resume_sweep = resume_sweep  # type: ignore[attr-defined]
    module.plan_sweep = lambda loaded: Plan()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chemprop_hpo.hpo.sweep", module)
    monkeypatch.setattr("chemprop_hpo.hpo.sweep", module, raising=False)
    return module


def _answer(module: Any, call: dict[str, Any]) -> Any:
    module.calls.append(call)
    if isinstance(module.result, BaseException):
        raise module.result
    return module.result


class TestSweep:
    def test_its_end_is_a_table_and_the_next_commands(
        self, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        assert shell("sweep", str(sweep_file)) == 0
        assert "best trials by val_loss (lower is better)" in shell.out
        assert "3 complete (3 max_t), 1 stopped early, 2 failed" in shell.out
        assert "101 epochs trained" in shell.out
        for line in (
            "  chemprop-hpo top-k --study esol",
            "  chemprop-hpo status --study esol",
            "  chemprop-hpo resume --study esol --num-samples 24",
        ):
            assert line in shell.out.splitlines()

    @pytest.mark.parametrize("name", ["a=b", "1e3", "no", "x: y", "[1]", 'say "hi"', "naïve"])
    def test_study_reaches_the_configuration_as_it_is_written(
        self, name: str, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        shell("sweep", str(sweep_file), "study.name=other", "--study", name)
        assert sweeps.calls[0]["loaded"].config.study_name == name

    def test_storage_reaches_the_sweep_and_its_password_nobody_else(
        self, sweeps: Any, sweep_file: Path, shell: Shell
    ) -> None:
        url = f"postgresql://me:{SECRET}@host/db?options=-c%20a%3Db"
        sweeps.result = SweepFailedError(f"lost {url}")
        assert shell("sweep", str(sweep_file), "--storage", url) == 1
        loaded = sweeps.calls[0]["loaded"]
        assert loaded.config.study.storage == url
        assert "hunter2" not in json.dumps(loaded.stored) + shell.out + shell.err

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_sweep_says_how_to_resume(
        self, number: int, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        sweeps.result = Result(signal=number, reason="interrupted")
        assert shell("sweep", str(sweep_file)) == 128 + number
        assert "are kept" in shell.err
        assert shell.err.endswith("  chemprop-hpo resume --study esol\n")

    def test_ensembles_that_were_asked_for_are_said_to_be_missing(
        self, sweeps: Any, sweep_file: Path, shell: Shell
    ) -> None:
        sweep_file.write_text(SWEEP_YAML + "transfer_learning: {enabled: true, top_k: 4}\n")
        make_study("esol", sweep_file)
        assert shell("sweep", str(sweep_file)) == 0
        assert "trains no ensembles yet" in shell.out
        assert shell.out.endswith("  chemprop-hpo top-k --study esol -k 4\n")

    def test_a_dry_run_prints_the_plan_and_starts_nothing(
        self, sweeps: Any, sweep_file: Path, shell: Shell
    ) -> None:
        assert shell("sweep", str(sweep_file), "--dry-run") == 0
        assert sweeps.calls == []
        for text in ("900 molecules", "2 trials at a time", "└── width", "162 points"):
            assert text in shell.out
        assert "\n  2. depth=4\n" in shell.out

    def test_a_failure_is_one_line_and_exit_code_1(
        self, sweeps: Any, sweep_file: Path, shell: Shell
    ) -> None:
        sweeps.result = SweepFailedError("the cluster went away; resume with: ...")
        assert shell("sweep", str(sweep_file)) == 1
        assert shell.err == "error: the cluster went away; resume with: ...\n"

    def test_the_unexpected_is_named_with_a_way_to_see_more(
        self, sweeps: Any, sweep_file: Path, shell: Shell
    ) -> None:
        sweeps.result = ZeroDivisionError("division by\nzero")
        assert shell("sweep", str(sweep_file)) == 1
        assert shell.err == ("error: ZeroDivisionError: division by zero; run again with --debug\n")
        assert shell("sweep", str(sweep_file), "--debug") == 1
        assert "Traceback" in shell.err

    @pytest.mark.parametrize(
        ("level", "seen"), [("DEBUG", "abc"), ("INFO", "bc"), ("WARNING", "c")]
    )
    def test_log_level_filters_this_package_only(
        self, level: str, seen: str, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        shell("sweep", str(sweep_file), "--log-level", level)
        log = logging.getLogger("chemprop_hpo.hpo.anything")
        log.debug("<a>")
        log.info("<b>")
        log.warning("<c> in postgresql://me:hunter2@host/db")
        logging.getLogger("ray").info("<ray>")
        printed = shell.capsys.readouterr().err
        assert [mark for mark in "abc" if f"<{mark}>" in printed] == list(seen)
        assert "hunter2" not in printed
        assert "<ray>" not in printed

    def test_a_closed_pipe_does_not_end_the_sweep(self, study: str, sweep_file: Path) -> None:
        program = f"""
            import sys, types
            from pathlib import Path
            from chemprop_hpo.hpo import cli
            from chemprop_hpo.hpo.events import SweepStarted, TrialEnded
            module = types.ModuleType("chemprop_hpo.hpo.sweep")
            def start_sweep(loaded, *, observers):
                watcher = observers[0]
                watcher.sweep_started(SweepStarted("esol", "x", "m", "min", 9, 9, 1, False, {{}}))
                sys.stdin.read()  # until the reader of the pipe has gone
                for number in range(100):
                    watcher.trial_ended(TrialEnded(number, "FAIL", None, None, 1, "error"))
                Path("finished").touch()
                raise KeyboardInterrupt
            module.start_sweep = start_sweep
            sys.modules["chemprop_hpo.hpo.sweep"] = module
            sys.exit(cli.run(["sweep", {str(sweep_file)!r}]))
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert b"study esol begins" in process.stdout.readline()
            process.stdout.close()
            process.stdin.close()
            process.wait(timeout=60)
        assert Path("finished").exists()


class TestResume:
    def test_it_passes_on_what_was_given(self, sweeps: Any, study: str, shell: Shell) -> None:
        arguments = ["--study", "esol", "--num-samples", "20", "resources.cpus_per_trial=2"]
        assert shell("resume", *arguments) == 0
        call = sweeps.calls[0]
        assert (call["name"], call["url"]) == ("esol", "sqlite:///studies.db")
        assert call["num_samples"] == 20
        assert call["overrides"] == ["resources.cpus_per_trial=2"]

    def test_without_a_name_it_takes_the_most_recent_and_says_so(
        self, sweeps: Any, study: str, shell: Shell
    ) -> None:
        assert shell("resume") == 0
        assert sweeps.calls[0]["name"] == "esol"
        assert "most recent study: esol" in shell.err
