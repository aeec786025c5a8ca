"""Signals to a driver: the first is noted, the second ends it, and no hanging call holds it up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from chemprop_hpo.hpo.trial.interrupts import Interrupts, RayIsGone, Stopped, stopped_by_signals

PREAMBLE = """
import ctypes, os, signal, sys, time
from chemprop_hpo.hpo.trial.interrupts import Interrupts, Stopped, stopped_by_signals

def never_returns():
    # As a call of Ray's to a server that is gone: no handler runs before it returns.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.siginterrupt(number, False)
    read, _ = os.pipe()
    print("ready", flush=True)
    ctypes.CDLL(None).read(read, ctypes.create_string_buffer(1), 1)

def ended():
    os.write(1, b"Ray was ended\\n")
"""


@contextlib.contextmanager
def driver(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready."""
    program = PREAMBLE + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    output = process.communicate(timeout=30)[0]
    return process.returncode, output


# ------------------------------------------------------------------ while trials are in flight


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_handlers_are_given_back(number: int) -> None:
    before = signal.getsignal(number)
    with Interrupts("never said") as interrupts:
        assert interrupts.received is None
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 10
        while interrupts.received is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert interrupts.received == number
    assert signal.getsignal(number) == before


def test_a_signal_sent_to_a_process_and_to_its_group_is_one() -> None:
    # As `timeout` does.
    code = """
    with Interrupts("ended at once", patience_s=1):
        print("ready", flush=True)
        time.sleep(60)
    """
    with driver(code) as process:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        returncode, _ = end_of(process)
    assert returncode == 143
    assert time.monotonic() - started >= 1  # it had its time


def test_the_second_signal_ends_a_process_whose_main_thread_hangs() -> None:
    code = """
    with Interrupts("resume with: this", end_ray=ended):
        never_returns()
    """
    with driver(code) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(1)  # a second one that follows at once is taken for the first
        process.send_signal(signal.SIGINT)
        returncode, output = end_of(process)
    assert returncode == 130
    assert "resume with: this" in output
    assert "Ray was ended" in output


def test_a_process_that_hangs_after_a_signal_ends_by_itself() -> None:
    code = """
    with Interrupts("resume with: this", end_ray=ended, patience_s=0.2):
        never_returns()
    """
    with driver(code) as process:
        process.send_signal(signal.SIGTERM)
        returncode, output = end_of(process)
    assert returncode == 143
    assert "resume with: this" in output
    assert "Ray was ended" in output


@pytest.mark.parametrize(("in_order", "within_s"), [(True, 1), (False, 3)])
def test_a_process_that_has_its_trials_in_order_waits_less_for_ray(
    in_order: bool, within_s: int
) -> None:
    program = f"""
    interrupts = Interrupts("resume with: this", end_ray=ended, tune_patience_s=1, patience_s=3)
    with interrupts, interrupts.in_ray():
        if {in_order}:
            interrupts.trials_are_in_order()
        never_returns()
    """
    with driver(program) as process:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        returncode, output = end_of(process)
    assert within_s <= time.monotonic() - started
    assert returncode == 143
    assert ("Ray did not stop; resume with: this" in output) == in_order


@pytest.mark.parametrize(("number", "code"), [(None, 1), (signal.SIGTERM, 143)])
def test_a_call_that_hangs_because_ray_is_gone_ends_the_process(
    number: int | None, code: int
) -> None:
    program = """
    interrupts = Interrupts(
        "resume with: this", ray_is_gone=lambda: True, end_ray=ended, ray_patience_s=1
    )
    with interrupts, interrupts.in_ray():
        never_returns()
    """
    with driver(program) as process:
        if number is not None:
            process.send_signal(number)
        returncode, output = end_of(process)
    assert returncode == code
    assert "resume with: this" in output
    assert "Ray was ended" in output


def test_leaving_a_ray_that_is_gone_has_its_own_time() -> None:
    ended: list[str] = []

    def slowly() -> None:  # as Ray's own way out is
        time.sleep(1.5)
        ended.append("Ray")

    interrupts = Interrupts(
        "never said", ray_is_gone=lambda: True, end_ray=slowly, ray_patience_s=0.5
    )
    with interrupts, interrupts.in_ray():
        raise RayIsGone
    assert ended == ["Ray"]  # type: ignore[unreachable]  # what is raised ends there


def test_a_process_that_hangs_on_leaving_ray_ends() -> None:
    program = """
    import ray
    from chemprop_hpo.hpo.trial.interrupts import RayIsGone

    tries = []

    def hangs_once():
        tries.append(1)
        if len(tries) == 1:
            never_returns()
        ended()

    interrupts = Interrupts(
        "resume with: this", ray_is_gone=lambda: True, end_ray=hangs_once, leaving_patience_s=1
    )
    with interrupts, interrupts.in_ray():
        raise RayIsGone
    """
    with driver(program) as process:
        returncode, output = end_of(process)
    assert returncode == 1
    assert "the Ray cluster went away; resume with: this" in output
    assert "Ray was ended" in output


def test_a_process_that_has_left_ray_has_all_its_time() -> None:
    ended: list[str] = []
    interrupts = Interrupts(
        "never said",
        ray_is_gone=lambda: True,
        end_ray=lambda: ended.append("Ray"),
        ray_patience_s=0.5,
    )
    with interrupts:
        with interrupts.in_ray():
            assert interrupts.ray_is_gone
            raise RayIsGone
        time.sleep(1.5)  # three times what it would have had in there
    assert ended == ["Ray"]


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts("never said") as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


# ------------------------------------------------------------------ before there are any


def test_a_signal_before_any_trial_is_raised_with_its_number() -> None:
    with pytest.raises(Stopped, match="stopped by SIGTERM") as stopped, stopped_by_signals("-"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM


def test_a_second_signal_ends_what_the_first_has_left_running() -> None:
    code = """
    with stopped_by_signals("ended at once"):
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            time.sleep(60)
    """
    with driver(code) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(1)  # a second one that follows at once is taken for the first
        process.send_signal(signal.SIGINT)
        returncode, output = end_of(process)
    assert returncode == 130
    assert "ended at once" in output


def test_a_process_ends_although_the_exception_was_swallowed() -> None:
    code = """
    with stopped_by_signals("ended at once", within_s=0.2):
        try:
            print("ready", flush=True)
            time.sleep(60)
        except BaseException:
            time.sleep(60)
    """
    with driver(code) as process:
        process.send_signal(signal.SIGTERM)
        returncode, output = end_of(process)
    assert returncode == 143
    assert "ended at once" in output


def test_a_signal_in_callbacks_that_cannot_raise_is_raised_after_them() -> None:
    code = """
    import weakref

    class Module:
        pass

    class Slow:
        def __del__(self):
            time.sleep(0.5)

    def callback(reference):  # as the import machinery has one for each module's lock
        os.kill(os.getpid(), signal.SIGTERM)

    print("ready", flush=True)
    time.sleep(0.5)  # or it is read together with the line above
    try:
        with stopped_by_signals("ended at once"):
            module, slow = Module(), Slow()
            reference = weakref.ref(module, callback)
            del module
            del slow  # in which it is dropped once more
            time.sleep(5)
            print("went on")
    except Stopped as stop:
        print(stop)
    """
    with driver(code) as process:
        assert end_of(process) == (0, "stopped by SIGTERM\n")


def test_what_a_library_makes_of_a_signal_is_taken_for_the_signal() -> None:
    def half_import() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise AttributeError("partially initialized module") from None

    with pytest.raises(Stopped, match="stopped by SIGTERM"), stopped_by_signals("-"):
        half_import()


def test_other_exceptions_that_cannot_be_raised_are_still_told() -> None:
    code = """
    class Dropped:
        def __del__(self):
            raise ValueError("in a finaliser")

    print("ready", flush=True)
    time.sleep(0.5)  # or it is read together with the line above
    with stopped_by_signals("ended at once"):
        Dropped()
    """
    with driver(code) as process:
        returncode, output = end_of(process)
    assert returncode == 0
    assert "ValueError: in a finaliser" in output
