"""``sweep``: what reaches the sweep, and what is said of its end."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.configs.errors import SweepFailedError
from tests.hpo.commands.made_study import SWEEP_YAML, make_study
from tests.hpo.commands.shell import SECRET, Shell
from tests.hpo.commands.stand_ins import Result


def test_its_end_is_a_table_and_the_next_commands(
    sweeps: Any, study: str, sweep_file: Path, shell: Shell
) -> None:
    assert shell("sweep", str(sweep_file)) == 0
    assert "best trials by val_loss (lower is better)" in shell.out
    assert "3 complete (3 max_t), 1 stopped early, 1 failed" in shell.out
    assert "101 epochs trained" in shell.out
    for line in (
        "  chemprop-hpo top-k --study esol",
        "  chemprop-hpo status --study esol",
        "  chemprop-hpo resume --study esol --num-samples 24",
    ):
        assert line in shell.out.splitlines()


@pytest.mark.parametrize("name", ["a=b", "1e3", "no", "x: y", "[1]", 'say "hi"', "naïve"])
def test_study_reaches_the_configuration_as_it_is_written(
    name: str, sweeps: Any, study: str, sweep_file: Path, shell: Shell
) -> None:
    shell("sweep", str(sweep_file), "study.name=other", "--study", name)
    assert sweeps.calls[0]["loaded"].config.study_name == name


def test_storage_reaches_the_sweep_and_its_password_nobody_else(
    sweeps: Any, sweep_file: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no such server, which would be said before.
    monkeypatch.setattr("chemprop_hpo.hpo.identity.open_if_ready", lambda url: None)
    url = f"postgresql://me:{SECRET}@host/db?options=-c%20a%3Db"
    sweeps.result = SweepFailedError(f"lost {url}")
    assert shell("sweep", str(sweep_file), "--storage", url) == 1
    loaded = sweeps.calls[0]["loaded"]
    assert loaded.config.study.storage == url
    assert "hunter2" not in json.dumps(loaded.stored) + shell.out + shell.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_how_to_resume(
    number: int, sweeps: Any, study: str, sweep_file: Path, shell: Shell
) -> None:
    sweeps.result = Result(signal=number, reason="interrupted")
    assert shell("sweep", str(sweep_file)) == 128 + number
    assert "are kept" in shell.err
    assert shell.err.endswith("  chemprop-hpo resume --study esol\n")


def test_a_sweep_with_fewer_trials_than_its_ensembles_need_says_which_key_asks_for_them(
    sweeps: Any, sweep_file: Path, shell: Shell
) -> None:
    sweep_file.write_text(SWEEP_YAML + "transfer_learning: {enabled: true, top_k: 4}\n")
    make_study("esol", sweep_file)
    assert shell("sweep", str(sweep_file)) == 2
    assert "best trials by val_loss" in shell.out
    assert "the sweep is finished, but transfer_learning.top_k asks for 4" in shell.err


def test_a_dry_run_prints_the_plan_and_starts_nothing(
    sweeps: Any, sweep_file: Path, shell: Shell
) -> None:
    assert shell("sweep", str(sweep_file), "--dry-run") == 0
    assert sweeps.calls == []
    for text in ("900 molecules", "2 trials at a time", "└── width", "162 points"):
        assert text in shell.out
    assert "\n  2. depth=4\n" in shell.out


def test_a_failure_is_one_line_and_exit_code_1(sweeps: Any, sweep_file: Path, shell: Shell) -> None:
    sweeps.result = SweepFailedError("the cluster went away; resume with: ...")
    assert shell("sweep", str(sweep_file)) == 1
    assert shell.err == "error: the cluster went away; resume with: ...\n"


def test_the_unexpected_is_named_with_a_way_to_see_more(
    sweeps: Any, sweep_file: Path, shell: Shell
) -> None:
    sweeps.result = ZeroDivisionError("division by\nzero")
    assert shell("sweep", str(sweep_file)) == 1
    assert shell.err == ("error: ZeroDivisionError: division by zero; run again with --debug\n")
    assert shell("sweep", str(sweep_file), "--debug") == 1
    assert "Traceback" in shell.err


@pytest.mark.parametrize(("level", "seen"), [("DEBUG", "abc"), ("INFO", "bc"), ("WARNING", "c")])
def test_log_level_filters_this_package_only(
    level: str, seen: str, sweeps: Any, study: str, sweep_file: Path, shell: Shell
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


def test_a_closed_pipe_does_not_end_the_sweep(study: str, sweep_file: Path) -> None:
    program = f"""
        import sys, types
        from pathlib import Path
        from chemprop_hpo.hpo import cli
        from chemprop_hpo.hpo.events import SweepStarted, TrialEnded
        module = types.ModuleType("chemprop_hpo.hpo.sweep")
        def start_sweep(loaded, *, observers, **options):
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
