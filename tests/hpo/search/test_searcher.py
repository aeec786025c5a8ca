"""What becomes of trials whose workers die, and of all that happens while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from chemprop_hpo.hpo.search import source
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.searcher import WORKER_DEATHS
from chemprop_hpo.storage import slots
from chemprop_hpo.storage.ownership import Driver, continue_trial, orphans
from tests.hpo.scripted import EARLY, GOOD
from tests.hpo.search.driving import Driving, lost_answer


@pytest.fixture
def driving(ready_url: str, tmp_path: Path) -> Iterator[Driving]:
    driving = Driving(ready_url, tmp_path, [GOOD, EARLY])
    yield driving
    driving.db.close()


def death(driving: Driving, ray_id: str, *, out_of_memory: bool = False) -> None:
    # As Tune tells it: first the searcher, then the callback, which knows why.
    driving.searcher.on_trial_complete(ray_id, error=True)
    driving.searcher.worker_failed(ray_id, "The actor died", out_of_memory=out_of_memory)


class TestDeadWorkers:
    def test_a_trial_whose_worker_died_is_handed_out_again(self, driving: Driving) -> None:
        first = driving.searcher.suggest("a")
        driving.reports("a", 1)
        driving.reports("a", 2)
        death(driving, "a")
        again = driving.searcher.suggest("b")
        assert again == first | {"reached": 2}
        driving.reports("b", 2)  # its checkpoint's own epoch, known already
        driving.reports("b", 3, stop_reason="early_stopping")
        (trial,) = driving.trials()
        assert trial.state == TrialState.COMPLETE
        assert sorted(trial.intermediate_values) == [1, 2, 3]
        assert trial.user_attrs["ray_trial_id"] == "b"

    def test_a_worker_that_died_before_its_first_epoch_costs_nothing(
        self, driving: Driving
    ) -> None:
        first = driving.searcher.suggest("a")
        death(driving, "a")
        assert driving.searcher.suggest("b") == first

    def test_a_configuration_that_kills_every_worker_fails_with_its_reason(
        self, driving: Driving
    ) -> None:
        for i in range(WORKER_DEATHS + 1):
            assert driving.searcher.suggest(f"{i}")["number"] == 0
            death(driving, f"{i}")
        (trial,) = driving.trials()
        assert trial.state == TrialState.FAIL
        assert trial.user_attrs["stop_reason"] == "error"
        assert "The actor died" in trial.user_attrs["error"]
        assert driving.searcher.suggest("next")["number"] == 1

    def test_deaths_count_since_the_last_new_epoch(self, driving: Driving) -> None:
        for i in range(2 * WORKER_DEATHS):
            assert driving.searcher.suggest(f"{i}")["number"] == 0
            driving.reports(f"{i}", i + 1)
            death(driving, f"{i}")
        assert [t.state for t in driving.trials()] == [TrialState.RUNNING]

    def test_a_worker_killed_for_memory_ends_its_trial_as_out_of_memory(
        self, driving: Driving
    ) -> None:
        driving.searcher.suggest("a")
        death(driving, "a", out_of_memory=True)
        (trial,) = driving.trials()
        assert trial.state == TrialState.PRUNED
        assert trial.user_attrs["stop_reason"] == "oom"
        assert max(trial.constraints.values()) > 0


class TestSharedGpu:
    @pytest.fixture
    def sharing(self, ready_url: str, tmp_path: Path) -> Iterator[Driving]:
        resources = {"gpus_per_trial": 0.25}
        driving = Driving(ready_url, tmp_path, [GOOD] * 9, concurrency=4, resources=resources)
        yield driving
        driving.db.close()

    @staticmethod
    def ask(driving: Driving, *ray_ids: str) -> list[Any]:
        return [(driving.searcher.suggest(ray_id) or {}).get("number") for ray_id in ray_ids]

    @staticmethod
    def out_of_memory(driving: Driving, ray_id: str) -> None:
        driving.searcher.on_trial_complete(
            ray_id, TrialReport(stop_reason="oom", error="CUDA out of memory").as_result()
        )

    @staticmethod
    def ends(driving: Driving, ray_id: str) -> None:
        driving.reports(ray_id, 9, stop_reason="max_t")

    def test_a_trial_that_is_crowded_out_runs_again_by_itself_and_fewer_at_once_afterwards(
        self, sharing: Driving, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.ask(sharing, *"abcd") == [0, 1, 2, 3]
        sharing.reports("b", 1)
        self.out_of_memory(sharing, "b")
        assert "trial 1 ran out of memory where up to 4 trials share a GPU (CUDA out" in caplog.text
        for ray_id in "acd":
            assert self.ask(sharing, "x") == [None]
            self.ends(sharing, ray_id)
        again = sharing.searcher.suggest("b2")
        assert (again["number"], again["reached"], again["alone"]) == (1, 1, True)
        sharing.reports("b2", 1)  # its checkpoint's own
        assert "no more than" not in caplog.text
        sharing.reports("b2", 2)
        sharing.reports("b2", 3)
        assert caplog.text.count("no more than 3 at once from now on") == 1
        assert "resources.gpus_per_trial=0.3333 lets" in caplog.text
        assert self.ask(sharing, "x") == [None]
        self.ends(sharing, "b2")
        assert self.ask(sharing, *"efgh") == [4, 5, 6, None]
        assert {t.state for t in sharing.trials()[:4]} == {TrialState.COMPLETE}

    def test_one_that_is_too_large_by_itself_is_pruned_and_as_many_run_as_before(
        self, sharing: Driving, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.ask(sharing, *"ab") == [0, 1]  # half of what fits
        self.out_of_memory(sharing, "a")
        self.ends(sharing, "b")
        assert self.ask(sharing, "a2", "x") == [0, None]
        self.out_of_memory(sharing, "a2")
        assert "up to 4 at once again" in caplog.text
        assert self.ask(sharing, *"cdefg") == [2, 3, 4, 5, None]
        trial = sharing.trials()[0]
        assert (trial.state, trial.user_attrs["stop_reason"]) == (TrialState.PRUNED, "oom")
        assert max(trial.constraints.values()) > 0

    @pytest.mark.parametrize("large", ["a", "b", None])
    def test_one_too_large_trial_speaks_for_all_that_ran_out_with_it(
        self, sharing: Driving, large: str | None
    ) -> None:
        assert self.ask(sharing, *"abcd") == [0, 1, 2, 3]
        self.ends(sharing, "d")
        for ray_id in "abc":
            self.out_of_memory(sharing, ray_id)
        for number, ray_id in enumerate("abc"):
            assert self.ask(sharing, ray_id + "2", "x") == [number, None]
            if ray_id == large:
                self.out_of_memory(sharing, ray_id + "2")
            else:
                sharing.reports(ray_id + "2", 1)
                self.ends(sharing, ray_id + "2")
        ran_at_once = 4  # since their last epochs
        begun = [number for number in self.ask(sharing, *"efghi") if number is not None]
        assert len(begun) == (4 if large else ran_at_once - 1)

    def test_those_that_ended_before_a_trials_last_epoch_are_not_counted(
        self, sharing: Driving
    ) -> None:
        assert self.ask(sharing, *"abcd") == [0, 1, 2, 3]
        self.ends(sharing, "c")
        self.ends(sharing, "d")
        sharing.reports("a", 1)  # beside b
        self.out_of_memory(sharing, "a")
        self.ends(sharing, "b")
        assert self.ask(sharing, "a2") == [0]
        sharing.reports("a2", 2)
        self.ends(sharing, "a2")
        assert self.ask(sharing, "e", "f") == [4, None]

    def test_a_run_by_itself_that_shows_nothing_changes_nothing(self, sharing: Driving) -> None:
        assert self.ask(sharing, *"abcd") == [0, 1, 2, 3]
        death(sharing, "d")  # of another reason: it waits its turn as well
        self.out_of_memory(sharing, "a")
        self.ends(sharing, "b")
        self.ends(sharing, "c")
        turns = {self.ask(sharing, "d2")[0]: "d2"}
        assert self.ask(sharing, "x") == [None]
        if 3 in turns:
            self.ends(sharing, "d2")
            assert self.ask(sharing, "a2") == [0]
            last = "a2"
        else:
            last = "d2"
        sharing.reports(last, 0, stop_reason="error", error="it says so")
        assert len([n for n in self.ask(sharing, *"efghi") if n is not None]) == 4

    def test_a_trial_that_was_alone_all_along_is_pruned_at_once(self, sharing: Driving) -> None:
        assert self.ask(sharing, "a") == [0]
        self.out_of_memory(sharing, "a")
        assert sharing.trials()[0].user_attrs["stop_reason"] == "oom"

    def test_with_several_gpus_the_share_is_named_and_as_many_run(
        self, ready_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        driving = Driving(
            ready_url, tmp_path, [GOOD] * 9, concurrency=4, resources={"gpus_per_trial": 0.5}
        )
        assert self.ask(driving, *"abcd") == [0, 1, 2, 3]
        self.out_of_memory(driving, "a")
        for ray_id in "bcd":
            self.ends(driving, ray_id)
        assert self.ask(driving, "a2") == [0]
        driving.reports("a2", 1)
        assert "has room by itself; resources.gpus_per_trial=1 lets" in caplog.text
        self.ends(driving, "a2")
        assert self.ask(driving, *"efghi") == [4, 5, 6, 7, None]
        driving.db.close()

    def test_what_waits_is_handed_over_when_the_sweep_ends(self, sharing: Driving) -> None:
        assert self.ask(sharing, *"ab") == [0, 1]
        self.out_of_memory(sharing, "a")
        sharing.flights._settle("interrupted")
        reasons = [t.user_attrs.get("stop_reason") for t in sharing.trials()]
        assert reasons[:2] == ["interrupted", "interrupted"]
        assert sharing.trials()[2].state == TrialState.WAITING

    @pytest.mark.parametrize("share", [0, 1])
    def test_where_no_gpu_is_shared_a_trial_is_pruned_at_once(
        self, ready_url: str, tmp_path: Path, share: float
    ) -> None:
        driving = Driving(
            ready_url, tmp_path, [GOOD] * 3, concurrency=4, resources={"gpus_per_trial": share}
        )
        assert self.ask(driving, "a", "b") == [0, 1]
        self.out_of_memory(driving, "a")
        assert driving.trials()[0].state == TrialState.PRUNED
        assert self.ask(driving, "c") == [2]
        driving.db.close()


class TestOutages:
    def test_what_is_reported_meanwhile_arrives_afterwards(self, driving: Driving) -> None:
        driving.searcher.suggest("a")
        driving.reports("a", 1, 0.9)
        with driving.outage():
            driving.reports("a", 2, 0.8)
            driving.reports("a", 3, 0.7, stop_reason="max_t", final={"val_loss": 0.7})
            assert driving.searcher.suggest("b") is None
        assert driving.writer.flush()
        (trial,) = driving.trials()
        assert trial.state == TrialState.COMPLETE
        assert trial.value == 0.7
        assert trial.intermediate_values == {1: 0.9, 2: 0.8, 3: 0.7}
        assert trial.user_attrs["metrics"] == {"val_loss": 0.7}
        assert driving.searcher.suggest("b")["number"] == 1

    def test_a_worker_that_dies_meanwhile_is_replaced(self, driving: Driving) -> None:
        first = driving.searcher.suggest("a")
        with driving.outage():
            death(driving, "a")
            assert driving.searcher.suggest("b") == first

    @pytest.mark.parametrize("at", range(1, 40))
    def test_no_trial_is_lost_or_doubled_wherever_it_begins(
        self, ready_sqlite_url: str, tmp_path: Path, at: int
    ) -> None:
        driving = Driving(ready_sqlite_url, tmp_path, [GOOD], num_samples=2)
        seen = 0

        def refuse_once(*_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                raise OperationalError("", {}, ConnectionResetError("connection reset"))

        event.listen(driving.db.engine, "before_cursor_execute", refuse_once)
        given = []
        for _ in range(6):
            driving.writer._next_attempt = 0.0
            given.append(driving.searcher.suggest(f"ray-{len(given)}"))
        event.remove(driving.db.engine, "before_cursor_execute", refuse_once)
        assert [task["number"] for task in given if task] == [0, 1]
        assert driving.writer.flush()
        trials = driving.trials()
        assert [t.user_attrs["slot"] for t in trials] == [0, 1]
        assert {t.user_attrs["driver"] for t in trials} == {driving.driver.id}
        assert all("checkpoint" in t.user_attrs for t in trials)
        driving.db.close()

    def test_an_answer_that_is_lost_creates_no_second_trial(self, driving: Driving) -> None:
        with lost_answer(driving.db.storage, "create_running_trial"):
            assert driving.searcher.suggest("a") is None
        driving.writer._next_attempt = 0.0
        assert driving.searcher.suggest("b")["number"] == 0
        assert len(driving.trials()) == 1

    def test_an_answer_that_is_lost_takes_a_waiting_trial_once(self, driving: Driving) -> None:
        driving.searcher.suggest("a")
        driving.reports("a", 1)
        driving.flights._settle("interrupted")
        with lost_answer(driving.db.storage, "take_waiting"):
            assert driving.searcher.suggest("b") is None
        driving.writer._next_attempt = 0.0
        task = driving.searcher.suggest("c")
        assert (task["number"], task["reached"]) == (1, 1)

    def test_an_answer_that_is_lost_claims_no_second_slot(self, driving: Driving) -> None:
        with lost_answer(source, "claim_slot"):
            assert driving.searcher.suggest("a") is None
        driving.writer._next_attempt = 0.0
        driving.searcher.suggest("b")
        assert list(slots.claimed_slots(driving.db, driving.db.study_id(driving.study))) == [0]

    def test_an_end_told_twice_is_told_once(self, driving: Driving) -> None:
        driving.searcher.suggest("a")
        with lost_answer(driving.db.storage, "finish_trial"):
            driving.reports("a", 1, 0.5, stop_reason="max_t")
        driving.writer._next_attempt = 0.0
        assert driving.writer.flush()
        (trial,) = driving.trials()
        assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)


class TestOtherDrivers:
    def test_a_driver_that_was_taken_for_dead_lets_go_of_its_trial(self, driving: Driving) -> None:
        driving.searcher.suggest("a")
        driving.reports("a", 1)
        (running,) = driving.trials()
        other = Driver.register(driving.db, driving.study)
        continue_trial(driving.db, driving.study, running, other.id, "orphaned")
        before = driving.trials()
        assert not driving.searcher.has_ended("a")
        driving.reports("a", 2)
        assert driving.searcher.has_ended("a")
        driving.reports("a", 3, stop_reason="max_t")
        assert driving.trials() == before

    def test_a_trial_taken_in_its_last_epoch_ends_once(self, driving: Driving) -> None:
        driving.searcher.suggest("a")
        driving.reports("a", 1)
        (running,) = driving.trials()
        other = Driver.register(driving.db, driving.study)
        continue_trial(driving.db, driving.study, running, other.id, "orphaned")
        driving.reports("a", 2, stop_reason="max_t")
        assert [t.state for t in driving.trials()] == [TrialState.FAIL, TrialState.WAITING]
        assert driving.searcher.has_ended("a")

    def test_a_trial_taken_before_all_of_it_was_suggested_is_let_go(
        self, driving: Driving, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take = driving.flights.source.next_trial
        with ExitStack() as away, monkeypatch.context() as patch:

            def take_and_be_cut_off() -> Any:
                trial = take()
                away.enter_context(driving.outage())
                return trial

            patch.setattr(driving.flights.source, "next_trial", take_and_be_cut_off)
            assert driving.searcher.suggest("a") is None
        (running,) = driving.trials()
        other = Driver.register(driving.db, driving.study)
        continue_trial(driving.db, driving.study, running, other.id, "orphaned")
        assert driving.searcher.suggest("b") is None
        assert driving.searcher.suggest("c")["number"] == 1
        assert [t.state for t in driving.trials()] == [TrialState.FAIL, TrialState.RUNNING]

    def test_the_last_driver_takes_up_what_a_dead_one_left(
        self, ready_url: str, tmp_path: Path
    ) -> None:
        dead = Driving(ready_url, tmp_path, [GOOD], num_samples=1)
        dead.searcher.suggest("a")
        dead.reports("a", 1)
        driving = Driving(ready_url, tmp_path, [GOOD], num_samples=1)
        assert driving.searcher.suggest("b") is None  # perhaps it is alive
        dead.driver.leave()
        task = driving.searcher.suggest("c")
        assert (task["number"], task["reached"], task["folder"]) == (1, 1, "trials/00000")
        assert orphans(driving.db, driving.study) == []
        for each in (dead, driving):
            each.db.close()

    def test_a_driver_is_not_waited_for_once_it_has_beaten(
        self, ready_url: str, tmp_path: Path
    ) -> None:
        other = Driving(ready_url, tmp_path, [GOOD], num_samples=1)
        other.searcher.suggest("a")
        driving = Driving(ready_url, tmp_path, [GOOD], num_samples=1)
        assert driving.searcher.suggest("b") is None
        assert driving.searcher.suggest("c") is None
        other.driver.beat()
        assert driving.searcher.suggest("d") == Searcher.FINISHED
        for each in (other, driving):
            each.db.close()

    def test_a_sweep_that_must_end_is_given_no_trial(self, driving: Driving) -> None:
        must_end = []
        driving.searcher._must_end = lambda: bool(must_end)
        with driving.outage():
            assert driving.searcher.suggest("a") is None
            must_end.append("a signal came")
            # Tune would go on asking for ten minutes otherwise.
            assert driving.searcher.suggest("b") == Searcher.FINISHED


def test_a_checkpoint_ahead_of_the_study_brings_the_missing_epochs(driving: Driving) -> None:
    driving.searcher.suggest("a")
    driving.reports("a", 1, 0.9)
    driving.flights._settle("interrupted")
    assert driving.searcher.suggest("b")["reached"] == 1
    driving.reports("b", 4, 0.6, curve=(0.9, 0.8, 0.7, 0.6), resumed_from=4)
    continuation = driving.trials()[1]
    assert continuation.intermediate_values == {2: 0.8, 3: 0.7, 4: 0.6}
    assert continuation.user_attrs["first_epoch"] == 2
    assert continuation.user_attrs["resumed_from"] == 4


def test_a_checkpoint_behind_the_study_repeats_its_own_epoch(driving: Driving) -> None:
    driving.searcher.suggest("a")
    for epoch in (1, 2, 3):
        driving.reports("a", epoch, 1.0 - epoch / 10)
    driving.flights._settle("interrupted")
    driving.searcher.suggest("b")
    driving.reports("b", 2, 0.8, curve=(0.9, 0.8), resumed_from=2)
    assert driving.trials()[1].intermediate_values == {2: 0.8}
