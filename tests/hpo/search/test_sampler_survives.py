"""The sampler over stops: at one trial at a time, the same points as if nobody had stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.trial import TrialState

from chemprop_hpo.configs.schema import SamplerConfig, SweepConfig
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.storage.database import open_database

STARTUP = 8
TRIALS = 36
STOPS = (3, 7, 8, 17, 29)  # two inside the startup phase, one at its end

CONFIG = {
    "data": {"file": "x.csv", "target_cols": ["y"]},
    "search_space": {
        "ffn_hidden_dim": {
            "type": "choice",
            "choices": [300, 600],
            "condition": "ffn_num_layers >= 2 and depth >= 3",
        },
        "ffn_num_layers": {"type": "randint", "low": 1, "high": 3},
        "depth": {"type": "randint", "low": 2, "high": 6},
        "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
        "max_lr": {"type": "loguniform", "low": 1e-5, "high": 1e-2},
        "ffn_type": {
            "type": "choice",
            "choices": ["regression", "branched", "mixture_of_experts"],
        },
        "n_experts": {
            "type": "randint",
            "low": 2,
            "high": 8,
            "condition": "ffn_type == 'mixture_of_experts'",
        },
        "trunk_n_layers": {
            "type": "randint",
            "low": 1,
            "high": 3,
            "condition": "ffn_type == 'branched'",
        },
        "trunk_hidden_dim": {
            "type": "choice",
            "choices": [100, 200, 300],
            "condition": "trunk_n_layers >= 2",
        },
    },
}
SPACE = Space.of(SweepConfig.model_validate(CONFIG))


def open_study(storage: Any, kind: str, seed: int = 7) -> Study:
    sampler = build_sampler(SamplerConfig(type=kind, n_startup_trials=STARTUP), seed, SPACE)
    return optuna.create_study(
        study_name=kind, storage=storage, sampler=sampler, load_if_exists=True
    )


def run(study: Study, until: int) -> None:
    """Run trials one after another, until there are so many; they end in every way."""
    for _ in range(until - len(study.get_trials(deepcopy=False))):
        trial = study.ask()
        params = SPACE.suggest(trial)
        value = params["depth"] * params["dropout"] + len(params) / 7 + params["max_lr"]
        if trial.number % 6 == 4:
            study.tell(trial, state=TrialState.FAIL)
        elif trial.number % 5 == 2:
            trial.set_constraint("memory", 1.0)
            study.tell(trial, state=TrialState.PRUNED)
        elif trial.number % 3 == 1:
            trial.report(value, 3)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)


def points(study: Study) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in study.get_trials(deepcopy=False)]


def run_in_parts(url: str, kind: str, stops: Sequence[int]) -> list[dict[str, Any]]:
    for stop in stops:
        with open_database(url) as db:
            study = open_study(db.storage, kind)
            run(study, stop)
            found = points(study)
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, Any]]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('straight')}/studies.db"
    return {kind: run_in_parts(url, kind, [TRIALS]) for kind in ("tpe", "random")}


def test_the_trials_end_in_every_way_and_try_every_head(
    straight: Mapping[str, list[dict[str, Any]]],
) -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "tpe")
    run(study, TRIALS)
    assert points(study) == straight["tpe"]
    ends = Counter((trial.state.name, bool(trial.constraints)) for trial in study.trials)
    assert set(ends) == {("COMPLETE", False), ("PRUNED", False), ("PRUNED", True), ("FAIL", False)}
    assert len({point["ffn_type"] for point in straight["tpe"]}) == 3


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_stopping_between_trials_changes_no_bit_of_any_suggestion(
    kind: str, straight: Mapping[str, list[dict[str, Any]]], sqlite_url: str
) -> None:
    found = run_in_parts(sqlite_url, kind, [*STOPS, TRIALS])
    assert found == straight[kind]
    assert [json.dumps(p, sort_keys=True) for p in found] == [
        json.dumps(p, sort_keys=True) for p in straight[kind]
    ]


def test_other_processes_go_on_as_the_first_would_have(
    straight: Mapping[str, list[dict[str, Any]]], sqlite_url: str
) -> None:
    """Each process has its own order of strings in sets; here one for each order of two."""
    code = (
        "import sys; from tests.hpo.search.test_sampler_survives import run_in_parts; "
        "run_in_parts(sys.argv[1], 'tpe', [int(sys.argv[2])])"
    )
    for hash_seed, stop in ((4, 5), (5, TRIALS)):
        subprocess.run(
            [sys.executable, "-c", code, sqlite_url, str(stop)],
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
            cwd=Path(__file__).parents[3],
            check=True,
        )
    with open_database(sqlite_url) as db:
        assert points(open_study(db.storage, "tpe")) == straight["tpe"]


def test_without_a_seed_of_its_own_a_trial_would_repeat_an_earlier_one(sqlite_url: str) -> None:
    """What Optuna's sampler does when it is made again with its seed: the test above can fail."""
    for stop in (4, 8):
        with open_database(sqlite_url) as db:
            study = open_study(db.storage, "tpe")
            study.sampler = optuna.samplers.TPESampler(seed=7)
            run(study, stop)
            found = points(study)
    assert found[4] == found[0]


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_no_suggestion_repeats_also_where_a_trial_in_flight_was_continued(
    kind: str, sqlite_url: str
) -> None:
    for _ in range(6):
        with open_database(sqlite_url) as db:
            study = open_study(db.storage, kind)
            run(study, len(study.trials) + 4)
            in_flight = study.ask()
            params = SPACE.suggest(in_flight)
            study.enqueue_trial(params, user_attrs={"continues": in_flight.number})
            study.tell(in_flight, state=TrialState.FAIL)
            trials = study.get_trials()
    drawn = [t.params for t in trials if "continues" not in t.user_attrs]
    continued = [t.params for t in trials if "continues" in t.user_attrs and t.state.is_finished()]
    assert len(drawn) > 2 * STARTUP
    assert len({params["dropout"] for params in drawn}) == len(drawn)
    assert all(params in drawn for params in continued)
    assert len(continued) == 5
