"""A trial whose worker is killed, by a real SIGKILL, ends bit for bit as if it had not been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chemprop_hpo.hpo.chemistry.models.checkpoints import read_checkpoint
from chemprop_hpo.hpo.trial.checkpoint import TrialFolder
from tests.hpo.killable import LAST, LIVES, TWO_AT_ONCE
from tests.hpo.trainings import is_same

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one of each trial in it, all of which have come to their end."""
    folder = tmp_path_factory.mktemp("killed")
    program = [sys.executable, "-m", "tests.hpo.killable", str(folder)]
    subprocess.run(program, cwd=ROOT, check=True, timeout=280)
    return folder


def reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "reports").read_text().splitlines()]


def told(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a report says of its epoch, without how its worker began."""
    return {key: value for key, value in report.items() if key not in ("curve", "resumed_from")}


KILLED = [name for name in LIVES if name != "straight"]


def assert_same_end(trial: Path, straight: Path) -> None:
    """Compare weights, optimiser and schedule after the last epoch, and the best model."""
    states = [read_checkpoint(TrialFolder(f).checkpoints()[0]) for f in (trial, straight)]
    assert states[0][0]["report"]["epoch"] == LAST
    assert is_same(states[0][1], states[1][1])
    assert (trial / "best.pt").read_bytes() == (straight / "best.pt").read_bytes()


def assert_same_epochs(trial: Path, straight: Path) -> None:
    expected = [told(report) for report in reports(straight)]
    assert {report["epoch"] for report in reports(trial)} == set(range(1, LAST + 1))
    for report in reports(trial):
        assert told(report) == expected[report["epoch"] - 1]


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_trial_ends_with_the_weights_of_one_that_was_not(lived: Path, name: str) -> None:
    ended = json.loads((lived / name / "ended").read_text())
    assert ended == [signal.SIGKILL] * (len(LIVES[name]) - 1) + [0]
    assert_same_end(lived / name, lived / "straight")


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_trial_reports_every_epoch_as_one_that_was_not(lived: Path, name: str) -> None:
    assert_same_epochs(lived / name, lived / "straight")
    for before, after in pairwise(reports(lived / name)):
        # One that goes on from its checkpoint repeats its epoch; no epoch is ever left out.
        assert after["epoch"] in (before["epoch"], before["epoch"] + 1)


def test_a_trial_that_two_workers_go_on_with_at_once_ends_the_same(lived: Path) -> None:
    assert json.loads((lived / TWO_AT_ONCE / "ended").read_text()) == [0, 0]
    assert_same_end(lived / TWO_AT_ONCE, lived / "straight")
    assert_same_epochs(lived / TWO_AT_ONCE, lived / "straight")
    assert [r["notes"] for r in reports(lived / TWO_AT_ONCE) if r["notes"]] == []


def test_a_kill_costs_no_more_than_the_epoch_in_progress(lived: Path) -> None:
    first = {name: reports(lived / name) for name in KILLED}
    resumed = {
        name: [r["resumed_from"] for r in first[name] if r["resumed_from"]] for name in first
    }
    assert resumed["in the first epoch"] == []
    assert resumed["in an epoch"] == [3]
    assert resumed["in the first checkpoint"] == []
    assert resumed["in a checkpoint"] == [2]
    assert resumed["before a rename"] == [3]
    assert resumed["after a rename"] == [2]
    assert resumed["in the last epoch"] == resumed["in the best model"] == [5]
    assert resumed["in the last checkpoint"] == [5]
    assert resumed["after the last rename"] == [6]
    assert resumed["again and again"] == [1, 1, 1, 4, 4, 4]


def test_a_finished_trial_leaves_two_checkpoints_and_what_kills_left_half_written(
    lived: Path,
) -> None:
    folder = TrialFolder(lived / "again and again")
    assert [p.name for p in folder.checkpoints()] == ["epoch_00006.ckpt", "epoch_00005.ckpt"]
    assert len(list(folder.path.glob(".*.tmp"))) == 2
    folder.drop_checkpoints()
    left = {path.name for path in folder.path.iterdir()}
    assert left == {"best.pt", "reports", "ended"}
