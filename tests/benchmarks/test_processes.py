"""What a measured command leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import measure

PROGRAM = """
import signal, sys
from pathlib import Path
from processes import measure
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
measure(["sleep", "300"], Path.cwd(), Path("log"))
"""

ENDED_WHILE_IT_STARTS = """
import subprocess, sys
from pathlib import Path
from processes import measure

class Popen(subprocess.Popen):
    def _execute_child(self, *arguments):
        super()._execute_child(*arguments)
        Path("pid").write_text(str(self.pid))
        sys.exit(143)  # as by a signal's handler

subprocess.Popen = Popen
measure(["sleep", "300"], Path.cwd(), Path("log"))
"""

BURN = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as Ray's raylet does
if os.fork() == 0:
    while time.process_time() < 1.5:
        pass
    time.sleep(1.5)  # until it is seen
    os._exit(0)
time.sleep(0.1)
try:
    os.wait()  # for all of them to end
except ChildProcessError:
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="follows processes as Linux does")
def test_a_measurement_that_is_ended_ends_its_command(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment
    ) as measuring:
        command = _child(measuring.pid)
        measuring.send_signal(signal.SIGTERM)
        assert measuring.wait(20) == 143
    assert not command.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="follows processes as Linux does")
def test_a_measurement_that_is_ended_while_its_command_starts_ends_it(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ENDED_WHILE_IT_STARTS]
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 143
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="follows processes as Linux does")
def test_time_of_processes_that_nobody_waits_for_is_counted(tmp_path: Path) -> None:
    (tmp_path / "burn.py").write_text(BURN)
    command = [sys.executable, "burn.py"]
    cost = measure(command, tmp_path, tmp_path / "log")
    assert cost.code == 0
    assert cost.cpu_s > 1.0


def _child(pid: int) -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := psutil.Process(pid).children():
            return found[0]
        time.sleep(0.02)
    raise AssertionError("the command has not begun")
