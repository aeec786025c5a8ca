"""What Tune's loop does not do with each trial, and what is removed after trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import ray.tune.registry
from ray.tune.execution.tune_controller import TuneController

from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.sweep import start_sweep
from chemprop_hpo.hpo.trial import callback
from chemprop_hpo.hpo.trial.callback import SweepCallback
from tests.hpo import scripted
from tests.hpo.scripted import sweep_of


def test_tune_asks_for_the_trainable_once_and_writes_down_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    snapshots: list[Any] = []
    reported: set[str] = set()
    registry, write = ray.tune.registry._Registry, TuneController.save_to_dir
    get, contains, tell = registry.get, registry.contains, StudySearcher.on_trial_result

    def counted(self: Any, category: str, key: str) -> Any:
        asked.append(key)
        return get(self, category, key)

    def looked_for(self: Any, category: str, key: str) -> bool:
        asked.append(key)
        return bool(contains(self, category, key))

    def read(self: TuneController) -> None:
        write(self)
        snapshots.append(json.loads(Path(self.experiment_state_path).read_text()))

    def noted(self: StudySearcher, trial_id: str, result: dict[str, Any]) -> None:
        reported.update(result)
        tell(self, trial_id, result)

    monkeypatch.setattr(registry, "get", counted)
    monkeypatch.setattr(registry, "contains", looked_for)
    monkeypatch.setattr(TuneController, "save_to_dir", read)
    monkeypatch.setattr(StudySearcher, "on_trial_result", noted)
    loaded = sweep_of(tmp_path, [scripted.GOOD] * 6, resources={"max_concurrent_trials": 1})
    result = start_sweep(loaded, train=scripted.scripted_train)
    assert result.counts["COMPLETE"] == 6
    assert len(asked) < 6  # some before any trial, and none for each
    assert [one["trial_data"] for one in snapshots] == [[], []]
    added_by_tune = {"trial_id", "pid", "node_ip", "done", "training_iteration"}
    assert reported == {"report", "epoch", "best"} | added_by_tune


def test_what_trials_leave_behind_is_removed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(callback.time, "monotonic", lambda: now)
    tidy = mock.Mock()
    of_sweep = SweepCallback(mock.Mock(), mock.Mock(), mock.Mock(), tidy)

    def turn() -> int:
        of_sweep.on_step_end(0, [])
        return int(tidy.call_count)

    assert turn() == 0
    of_sweep.on_trial_complete(0, [], None)
    assert turn() == 1
    of_sweep.on_trial_complete(0, [], None)
    of_sweep.on_trial_complete(0, [], None)
    assert turn() == 1
    now += callback.TIDY_EVERY_S
    assert [turn(), turn()] == [2, 2]
