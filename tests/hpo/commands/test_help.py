"""The help of the program and of each command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chemprop_hpo import __version__
from tests.hpo.commands.shell import COMMANDS, Shell, in_a_process


@pytest.mark.parametrize("command", COMMANDS)
def test_it_teaches_with_an_example(command: str, shell: Shell) -> None:
    assert shell(command, "--help") == 0
    assert "Examples:" in shell.out
    assert f"\n    chemprop-hpo {command}" in shell.out


def test_no_help_imports_what_is_heavy() -> None:
    more = "\n".join(f"run([{c!r}, '--help'])" for c in COMMANDS)
    done = in_a_process("--help", script=more)
    assert done.returncode == 0
    assert done.stderr.strip() == "IMPORTED"


def test_the_program_alone_shows_its_commands(shell: Shell) -> None:
    assert shell() == 2
    for command in COMMANDS:
        assert f"\n  {command} " in shell.out


def test_version(shell: Shell) -> None:
    assert shell("--version") == 0
    assert shell.out == f"chemprop-hpo {__version__}\n"


def test_the_module_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("chemprop-hpo")
    both = [
        subprocess.run([*start, "swep"], capture_output=True, text=True, check=False)
        for start in ([sys.executable, "-m", "chemprop_hpo"], [str(script)])
    ]
    assert both[0].stderr == both[1].stderr
    assert "Did you mean 'sweep'?" in both[0].stderr
    assert [done.returncode for done in both] == [2, 2]
