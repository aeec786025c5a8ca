"""Whoever is killed says how to go on; whoever ends in order does not."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from chemprop_hpo.hpo.trial.last_words import LastWords
with LastWords("resume with: 'this' $HOME"):
    exec(sys.argv[1])
"""


def output_of(code: str) -> str:
    command = [sys.executable, "-c", PROGRAM, code]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_a_killed_process_has_said_its_last_words() -> None:
    assert output_of("os.kill(os.getpid(), 9)") == "\nresume with: 'this' $HOME\n"


def test_a_process_that_a_library_ends_has_said_its_last_words() -> None:
    assert "resume with" in output_of("os._exit(1)")


def test_the_whole_group_may_be_killed() -> None:
    assert "resume with" in output_of("os.setpgrp(); os.killpg(0, 9)")


def test_a_process_that_ends_in_order_says_nothing() -> None:
    assert output_of("pass") == ""
    assert "resume with" not in output_of("1 / 0")
