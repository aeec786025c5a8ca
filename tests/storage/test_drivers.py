from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from chemprop_hpo.storage import processes
from chemprop_hpo.storage.drivers import DEAD_AFTER_S, LONGEST_OUTAGE_S, DriverRow, is_dead

NOW = 1_000_000.0


@pytest.fixture
def row() -> DriverRow:
    """This very process, as it would have entered itself."""
    started = processes.process_start(os.getpid())
    assert started is not None
    return DriverRow(
        id="a" * 32,
        study_id=1,
        host=socket.gethostname(),
        boot_id=processes.boot_id(),
        pid=os.getpid(),
        pid_started=started,
        started_at=NOW - 500,
        beat_at=NOW - 5,
        left_at=None,
    )


def test_a_running_process_that_beats_is_alive(row: DriverRow) -> None:
    assert not is_dead(row, NOW)


def test_a_beat_may_be_a_minute_old(row: DriverRow) -> None:
    assert not is_dead(replace(row, beat_at=NOW - DEAD_AFTER_S), NOW)
    assert is_dead(replace(row, beat_at=NOW - DEAD_AFTER_S - 0.1), NOW)


def test_nobody_is_dead_for_a_silence_in_which_the_database_was_away(row: DriverRow) -> None:
    silent = replace(row, beat_at=NOW - 500)
    assert is_dead(silent, NOW)
    assert not is_dead(silent, NOW, up_since=NOW - DEAD_AFTER_S)
    assert is_dead(silent, NOW, up_since=NOW - DEAD_AFTER_S - 0.1)
    assert not is_dead(row, NOW, up_since=NOW - 500)


def test_whoever_was_silent_long_before_the_database_came_back_is_dead(row: DriverRow) -> None:
    assert is_dead(replace(row, beat_at=NOW - LONGEST_OUTAGE_S - 10), NOW, up_since=NOW - 5)


def test_one_that_left_is_dead(row: DriverRow) -> None:
    assert is_dead(replace(row, left_at=NOW), NOW)


def test_another_process_under_the_same_number_is_not_the_driver(row: DriverRow) -> None:
    assert is_dead(replace(row, pid_started=row.pid_started - 1), NOW)


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"boot_id": "other"}])
def test_a_process_of_another_machine_or_boot_is_judged_by_its_beat(
    row: DriverRow, elsewhere: dict[str, str]
) -> None:
    there = replace(row, pid=999_999_999, **elsewhere)
    assert not is_dead(there, NOW)
    assert is_dead(replace(there, beat_at=NOW - 61), NOW)


def test_a_killed_process_is_dead_though_nobody_has_collected_it(row: DriverRow) -> None:
    with _child() as child:
        started = processes.process_start(child.pid)
        assert started is not None
        theirs = replace(row, pid=child.pid, pid_started=started)
        assert not is_dead(theirs, NOW)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert is_dead(theirs, NOW)
    assert is_dead(theirs, NOW)


def test_a_stopped_process_lives_until_its_beat_is_old(row: DriverRow) -> None:
    with _child() as child:
        started = processes.process_start(child.pid)
        assert started is not None
        child.send_signal(signal.SIGSTOP)
        assert not is_dead(replace(row, pid=child.pid, pid_started=started), NOW)


def test_without_a_proc_folder_psutil_knows_the_same(row: DriverRow) -> None:
    with _child() as child:
        assert processes._process_start_elsewhere(child.pid) is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes._process_start_elsewhere(child.pid) is None
    assert processes._process_start_elsewhere(child.pid) is None


@contextmanager
def _child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()
