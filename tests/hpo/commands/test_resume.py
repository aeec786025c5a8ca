"""``resume``: what reaches the sweep, and what is put right before anything is started."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from tests.hpo.commands.made_study import SWEEP_YAML, TABLE, make_study
from tests.hpo.commands.shell import Shell, in_a_process


def resume(*arguments: str) -> tuple[str, ...]:
    return ("resume", "--study", "esol", *arguments)


def refused_line(shell: Shell, sweeps: Any, *arguments: str) -> str:
    """Return the one line that a refusal is, after looking that nothing was started."""
    assert shell(*arguments) == 2
    assert sweeps.calls == []
    assert shell.out == ""
    (line,) = shell.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


class TestPassesOn:
    def test_what_was_given(self, sweeps: Any, study: str, shell: Shell) -> None:
        arguments = resume("--num-samples", "20", "resources.cpus_per_trial=2")
        assert shell(*arguments) == 0
        call = sweeps.calls[0]
        assert (call["name"], call["url"]) == ("esol", "sqlite:///studies.db")
        assert call["num_samples"] == 20
        assert call["overrides"] == ["resources.cpus_per_trial=2"]
        assert call["accept_changed_data"] is False

    def test_without_a_name_the_most_recent_study_which_is_named(
        self, sweeps: Any, study: str, shell: Shell
    ) -> None:
        assert shell("resume") == 0
        assert sweeps.calls[0]["name"] == "esol"
        assert "most recent study: esol" in shell.err

    @pytest.mark.parametrize(
        "override",
        [
            "mlflow.tracking_uri=sqlite:///elsewhere.db",
            "study.folder=/elsewhere",
            "ray.address=auto",
            "resources.max_concurrent_trials=1",
            "time_budget_s=60",
            "num_samples=30",
            "search_space.depth.high=9",
            "scheduler.max_t=20",
            "sampler.type=random",
        ],
    )
    def test_what_may_differ_where_a_study_goes_on(
        self, override: str, sweeps: Any, study: str, shell: Shell
    ) -> None:
        assert shell(*resume(override)) == 0
        assert sweeps.calls[0]["overrides"] == [override]

    def test_a_url_whose_password_is_a_variable_and_gives_it_back_for_copying(
        self, sweeps: Any, study: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STUDIES", "studies.db")
        assert shell(*resume("--storage", "sqlite:///${oc.env:STUDIES}")) == 0
        assert sweeps.calls[0]["url"] == "sqlite:///studies.db"


class TestRefuses:
    def test_an_unknown_study(self, sweeps: Any, study: str, shell: Shell) -> None:
        line = refused_line(shell, sweeps, "resume", "--study", "esoll")
        assert line == (
            "no study 'esoll' in sqlite:///studies.db; did you mean 'esol'? list them with: "
            "chemprop-hpo studies"
        )

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            (
                "model.dropout=0.3",
                "study 'esol' in sqlite:///studies.db cannot go on with model.dropout: its "
                "trials were trained with 0, not 0.3; leave that as it was, or begin a new "
                "study: chemprop-hpo sweep FILE --study NAME",
            ),
            ("seed=3", "seed: the study has 0, not 3"),
            ("study.name=other", "--study says which one is meant"),
            ("study.storage=sqlite:///other.db", "--storage says where the study is"),
            ("model.dept=3", "model.dept is unknown; did you mean depth?"),
            ("search_space.depht.high=3", "search_space.depht is not in the file"),
        ],
    )
    def test_what_would_make_another_study_of_it(
        self, override: str, words: str, sweeps: Any, study: str, shell: Shell
    ) -> None:
        assert words in refused_line(shell, sweeps, *resume(override))

    def test_it_before_anything_heavy_is_imported(self, study: str) -> None:
        done = in_a_process(*resume("model.dropout=0.3"))
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "IMPORTED optuna"

    def test_a_password_that_was_masked(self, sweeps: Any, shell: Shell) -> None:
        url = "postgresql://me:***@host/db"
        assert refused_line(shell, sweeps, *resume("--storage", url)) == (
            f"{url}: the password was masked; give the URL again with --storage"
        )

    def test_a_url_with_a_variable_that_is_not_set(
        self, sweeps: Any, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SWEEP_PW", raising=False)
        url = "postgresql://me:${oc.env:SWEEP_PW}@host/db"
        assert refused_line(shell, sweeps, *resume("--storage", url)) == (
            "--storage needs the environment variable SWEEP_PW, which is not set"
        )

    def test_a_stored_secret_whose_variable_is_not_set(
        self, sweeps: Any, sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRACKER_PW", "x")
        tracker = "https://me:${oc.env:TRACKER_PW}@lab"
        sweep_file.write_text(SWEEP_YAML + f"mlflow: {{tracking_uri: '{tracker}'}}\n")
        make_study("esol", sweep_file)
        monkeypatch.delenv("TRACKER_PW")
        line = refused_line(shell, sweeps, *resume())
        assert "mlflow.tracking_uri needs the environment variable TRACKER_PW" in line
        assert line.endswith("set it, or override the value: mlflow.tracking_uri=VALUE")
        assert shell(*resume("mlflow.tracking_uri=sqlite:///mlflow.db")) == 0

    def test_the_variable_of_a_stored_url_is_not_needed_where_the_url_is_given(
        self, sweeps: Any, study: str, shell: Shell
    ) -> None:
        with open_database("sqlite:///studies.db") as database:
            opened = open_study(database, study)
            config = opened.user_attrs["config"]
            config["study"]["storage"] = "postgresql://me:${oc.env:NOT_SET_HERE}@host/db"
            opened.set_user_attr("config", config)
        assert shell(*resume()) == 0

    def test_a_folder_that_a_worker_does_not_see(
        self, sweeps: Any, study: str, shell: Shell
    ) -> None:
        sweeps.result = ResourceError("the study's folder /x is not seen by far; set study.folder")
        assert shell(*resume()) == 2
        assert shell.err == f"error: {sweeps.result}\n"


class TestElsewhere:
    """The same database and, or not, the same files, seen from another folder."""

    @pytest.fixture
    def url(self, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        with open_database("sqlite:///studies.db") as database:
            opened = open_study(database, study)
            data = opened.user_attrs["data"]
            data["file"]["path"] = str(tmp_path / "esol.csv")
            opened.set_user_attr("data", data)
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.chdir(other)
        monkeypatch.setenv("HOME", str(other))
        return f"sqlite:///{tmp_path}/studies.db"

    def test_data_are_read_where_they_were(self, sweeps: Any, url: str, shell: Shell) -> None:
        assert shell(*resume("--storage", url)) == 0
        assert len(sweeps.calls) == 1

    def test_data_are_read_where_they_are_said_to_be(
        self, sweeps: Any, url: str, tmp_path: Path, shell: Shell
    ) -> None:
        shutil.move(tmp_path / "esol.csv", tmp_path / "other" / "moved.csv")
        line = refused_line(shell, sweeps, *resume("--storage", url))
        assert line == (
            f"data.file: there is no esol.csv in {tmp_path}/other, nor {tmp_path}/esol.csv, where "
            "the study read it; say where it is: data.file=PATH"
        )
        assert shell(*resume("--storage", url, "data.file=moved.csv")) == 0

    def test_other_data_of_that_name_are_refused(
        self, sweeps: Any, url: str, tmp_path: Path, shell: Shell
    ) -> None:
        (tmp_path / "other" / "esol.csv").write_text(TABLE + "CCC,0.3\n")
        assert shell(*resume("--storage", url)) == 2
        assert "data file: 1 rows" in shell.err
        assert sweeps.calls == []

    def test_a_path_that_is_given_and_leads_nowhere_is_not_replaced(
        self, sweeps: Any, url: str, shell: Shell
    ) -> None:
        line = refused_line(shell, sweeps, *resume("--storage", url, "data.file=/none.csv"))
        assert line.startswith("data.file: there is no /none.csv; say where it is")


class TestAnEditedFile:
    """``sweep`` with a file that was edited goes on with the study by the same rules."""

    def test_a_range_is_taken(
        self, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        sweep_file.write_text(SWEEP_YAML.replace("high: 6", "high: 9"))
        assert shell("sweep", str(sweep_file)) == 0

    def test_choices_are_refused_with_the_reason(
        self, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        wider = "[regression, branched, mixture_of_experts]"
        sweep_file.write_text(SWEEP_YAML.replace("[regression, branched]", wider))
        assert shell("sweep", str(sweep_file)) == 2
        assert 'search_space.ffn_type: ["regression", "branched"] in the study' in shell.err
        assert sweeps.calls == []

    def test_a_base_value_is_refused(
        self, sweeps: Any, study: str, sweep_file: Path, shell: Shell
    ) -> None:
        sweep_file.write_text(SWEEP_YAML + "model: {dropout: 0.3}\n")
        line = refused_line(shell, sweeps, "sweep", str(sweep_file))
        assert "model.dropout: its trials were trained with 0, not 0.3" in line


class TestChangedData:
    @pytest.fixture
    def changed(self, study: str, sweep_file: Path) -> Path:
        table = sweep_file.with_name("esol.csv")
        table.write_text(TABLE + "CCC,0.3\n")
        return table

    @pytest.mark.parametrize("command", [["resume"], ["sweep", "esol.yaml"]])
    def test_they_are_refused_and_the_way_on_is_named(
        self, command: list[str], changed: Path, sweeps: Any, shell: Shell
    ) -> None:
        assert shell(*command) == 2
        assert "1 rows" in shell.err
        assert "2 rows" in shell.err
        assert "--accept-changed-data" in shell.err
        assert sweeps.calls == []

    @pytest.mark.parametrize("command", [["resume"], ["sweep", "esol.yaml"]])
    def test_they_can_be_accepted(
        self, command: list[str], changed: Path, sweeps: Any, shell: Shell
    ) -> None:
        assert shell(*command, "--accept-changed-data") == 0
        assert sweeps.calls[0]["accept_changed_data"] is True


def test_a_study_of_a_newer_version_is_refused(sweeps: Any, study: str, shell: Shell) -> None:
    with open_database("sqlite:///studies.db") as database:
        opened = open_study(database, study)
        opened.set_user_attr("schema_version", 99)
    for command in (["resume"], ["status", "--study", "esol"], ["sweep", "esol.yaml"]):
        assert shell(*command) == 2
        assert "newer chemprop-hpo" in shell.err.splitlines()[-1]
    assert sweeps.calls == []
