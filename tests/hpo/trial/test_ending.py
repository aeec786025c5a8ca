"""When Tune is told to stop all trials, and what is done before it is."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from chemprop_hpo.configs.errors import ChempropHpoError, SweepFailedError
from chemprop_hpo.hpo.trial.ending import EarlyEnd
from chemprop_hpo.hpo.trial.interrupts import Interrupts, RayIsGone


class Sweep:
    """What an early end knows of its sweep."""

    def __init__(self, time_budget_s: float | None = None) -> None:
        self.ray_is_gone = False
        self.failure: ChempropHpoError | None = None
        self.settled: list[str] = []
        self.interrupts = Interrupts("-", ray_is_gone=lambda: self.ray_is_gone, end_ray=nothing)
        self.end = EarlyEnd(
            self.interrupts,
            lambda: self.failure,
            time_budget_s,
            lambda ray_id: ray_id == "taken",
            self.settled.append,
        )


def nothing() -> None:
    pass


def signalled(sweep: Sweep) -> None:
    sweep.interrupts.received = signal.SIGINT


def failed(sweep: Sweep) -> None:
    sweep.failure = SweepFailedError("the database is away")


def test_nothing_ends_a_sweep_that_goes_well() -> None:
    sweep = Sweep(time_budget_s=1000)
    assert not sweep.end.stop_all()
    assert not sweep.end("other", {})
    assert sweep.settled == []


def test_only_a_trial_that_is_anothers_is_stopped_alone() -> None:
    assert Sweep().end("taken", {})


@pytest.mark.parametrize(
    ("what", "reason"), [(signalled, "interrupted"), (failed, "failed"), (None, "time_budget")]
)
def test_trials_are_settled_once_before_they_are_stopped(
    what: Callable[[Sweep], None] | None, reason: str
) -> None:
    sweep = Sweep(time_budget_s=1000 if what else 0)
    if what:
        what(sweep)
    assert sweep.end.stop_all()
    assert sweep.end.stop_all()
    assert sweep.settled == [sweep.end.reason] == [reason]


@pytest.mark.parametrize(("what", "reason"), [(None, "failed"), (signalled, "interrupted")])
def test_tune_is_left_when_ray_is_gone_and_trials_are_settled(
    what: Callable[[Sweep], None] | None, reason: str
) -> None:
    sweep = Sweep()
    sweep.ray_is_gone = True
    if what:
        what(sweep)
    with pytest.raises(RayIsGone):
        sweep.end.stop_all()
    assert sweep.settled == [sweep.end.reason] == [reason]


def test_leaving_tune_is_no_exception_to_whoever_called_it() -> None:
    sweep = Sweep()
    sweep.ray_is_gone = True
    with sweep.end.around_tune():
        sweep.end.stop_all()
        pytest.fail("Tune would wait for what is gone")
    assert sweep.end.reason == "failed"
