"""Signals and kills, at moments that are chosen, to the real command line.

Each test goes on with the study that the one before has left, as a user would; each also
stands alone. Kills at random moments are in `tests/faults`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.invariants import violations_at_the_end
from tests.faults.snapshots import read_snapshot
from tests.hpo.drivers import Driver, PacedSweep, stop

pytestmark = [
    pytest.mark.timeout(600),  # several starts of Ray on a busy machine
    pytest.mark.skipif(sys.platform != "linux", reason="Ray is in the driver's group there"),
]

PACE_S = 1.0
WITHIN_S = 10.0
"""A sweep ends within this of a signal."""

HOW_TO_GO_ON = "chemprop-hpo resume --study paced"
STOPPED = "stopped by {}; nothing is left running; the same command goes on\n"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> PacedSweep:
    return PacedSweep(tmp_path_factory.mktemp("signals"))


@pytest.fixture
def early(tmp_path: Path) -> Iterator[Driver]:
    """The program as it is, just started on a sweep of its own."""
    file = PacedSweep(tmp_path).file
    driver = Driver(tmp_path, "-m", "chemprop_hpo", "sweep", str(file))
    yield driver
    driver.end()


def assert_in_order(sweep: PacedSweep, driver: Driver) -> None:
    """Assert that nothing runs any more and that both trials wait for their continuation."""
    assert sweep.numbers("RUNNING") == []
    assert len(sweep.numbers("WAITING")) == 2
    assert driver.left() == []


# ------------------------------------------------------------------ before there is any trial


def test_a_signal_while_libraries_are_imported_ends_with_one_line(early: Driver) -> None:
    early.wait_for(lambda: "libtorch" in early.maps())
    early.signal(signal.SIGTERM)
    assert early.ended(WITHIN_S) == (143, STOPPED.format("SIGTERM"))


def test_a_signal_while_ray_starts_leaves_nothing_of_it(early: Driver) -> None:
    early.wait_for(lambda: early.named("gcs_server"))
    early.signal(signal.SIGINT, group=True)
    code, output = early.ended(WITHIN_S)
    assert code == 130
    assert output.endswith(STOPPED.format("SIGINT"))
    assert "Traceback" not in output
    assert early.left() == []


# ------------------------------------------------------------------ while trials are in flight


def test_ctrl_c_settles_the_trials_and_says_how_to_go_on(sweep: PacedSweep) -> None:
    with sweep.training(PACE_S) as driver:
        driver.signal(signal.SIGINT, group=True)  # as a terminal does
        code, output = driver.ended(WITHIN_S)
        assert code == 130
        assert HOW_TO_GO_ON in output
        assert "Traceback" not in output
        assert_in_order(sweep, driver)
    assert sweep.epochs_without_checkpoint() == {}


def test_sigterm_while_workers_import_does_not_wait_for_them(sweep: PacedSweep) -> None:
    before = sweep.epochs()
    with sweep.driver(PACE_S) as driver:
        driver.wait_for(lambda: len(sweep.numbers("RUNNING")) == 2 and driver.workers())
        driver.signal(signal.SIGTERM)
        code, output = driver.ended(WITHIN_S)
        assert code == 143
        assert HOW_TO_GO_ON in output
        assert_in_order(sweep, driver)
    assert sweep.epochs() == before


def test_a_worker_killed_while_it_starts_is_replaced_under_the_same_number(
    sweep: PacedSweep,
) -> None:
    before = sweep.epochs()
    with sweep.driver(PACE_S) as driver:
        driver.wait_for(lambda: len(sweep.numbers("RUNNING")) == 2 and driver.workers())
        running = sweep.numbers("RUNNING")
        driver.workers()[0].kill()
        driver.wait_for(lambda: sweep.both_beyond(before))
        assert sweep.numbers("RUNNING") == running
        assert_sigterm_to_the_group_lets_workers_write_their_checkpoints(sweep, driver)


def assert_sigterm_to_the_group_lets_workers_write_their_checkpoints(
    sweep: PacedSweep, driver: Driver
) -> None:
    # A start less: each takes twenty seconds or more.
    driver.signal(signal.SIGTERM, group=True)  # as a batch system does
    code, output = driver.ended(WITHIN_S)
    assert code == 143
    assert HOW_TO_GO_ON in output
    assert_in_order(sweep, driver)
    assert sweep.epochs_without_checkpoint() == {}


def test_a_second_ctrl_c_ends_at_once_whatever_hangs(sweep: PacedSweep) -> None:
    with sweep.training(PACE_S) as driver:
        stop(driver.workers())  # they will not end their epoch
        driver.signal(signal.SIGINT, group=True)
        driver.wait_for(lambda: len(sweep.numbers("WAITING")) == 2)
        time.sleep(1)  # a second one that follows at once is taken for the first
        driver.signal(signal.SIGINT, group=True)
        code, output = driver.ended(3)
        assert code == 130
        assert f"ended at once; finished trials are kept; resume with: {HOW_TO_GO_ON}" in output
        assert_in_order(sweep, driver)


def test_without_its_raylet_a_sweep_fails_and_says_how_to_go_on(sweep: PacedSweep) -> None:
    with sweep.training(PACE_S) as driver:
        (raylet,) = driver.named("raylet/raylet")
        raylet.kill()
        code, output = driver.ended(WITHIN_S)
        assert code == 1
        assert HOW_TO_GO_ON in output
        assert driver.left() == []


def test_a_killed_driver_has_said_how_to_go_on_and_leaves_nothing_to_the_next(
    sweep: PacedSweep,
) -> None:
    with sweep.training(PACE_S) as driver:
        driver.signal(signal.SIGKILL)
        code, output = driver.ended(WITHIN_S)
        assert code == -signal.SIGKILL
        assert "the sweep was killed; finished trials are kept; resume with: " in output
        assert HOW_TO_GO_ON in output
        # Two that train nothing would take half a minute.
        assert driver.left(but="Agent", within_s=WITHIN_S) == []
        with sweep.driver(0.0) as next_driver:
            next_driver.wait_for(lambda: next_driver.named("raylet/raylet"))
            assert driver.left(within_s=0) == []
            code, output = next_driver.ended(240)
            assert code == 0, output
            assert next_driver.left() == []
    assert_nothing_is_lost_or_doubled(sweep)


def assert_nothing_is_lost_or_doubled(sweep: PacedSweep) -> None:
    """Assert that the study has come to its end as if nothing had happened to it."""
    now = read_snapshot(sweep.url, "paced")
    assert now is not None
    assert violations_at_the_end(now) == []
    assert len(sweep.numbers("COMPLETE")) == 2
