"""Run commands: in this process, or in one of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

from chemprop_hpo.hpo.cli import run

COMMANDS = ["sweep", "resume", "top-k", "ensembles", "predict", "status", "studies", "delete"]
COMMANDS += ["track", "validate", "schema", "dashboard"]
SECRET = "hunter2/@x"


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
