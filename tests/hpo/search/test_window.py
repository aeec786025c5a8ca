"""TPE in large studies: it looks at the best and the latest trials, and finds what it found."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import optuna
import pytest
from optuna import Study
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace
from optuna.trial import FrozenTrial, Trial, TrialState

from chemprop_hpo.configs.schema import SamplerConfig
from chemprop_hpo.hpo.search import tpe, window
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.tpe import seed_of
from chemprop_hpo.hpo.search.window import BEST, History
from tests.hpo.search.test_sampler_survives import SPACE

RANGES = SPACE.distributions()


class StockTPE(TPESampler):
    """Optuna's own, as if made anew before each trial, and reseeded as ours is."""

    def __init__(self, seed: int) -> None:
        super().__init__(multivariate=True, group=True, n_startup_trials=8, seed=seed)
        self._base_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        seed = seed_of(self._base_seed, trial.number)
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)
        self._group_decomposed_search_space = _GroupDecomposedSearchSpace(include_pruned=True)


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpe, "WINDOW", 40)


def tell(study: Study, trial: Trial, value: float) -> None:
    """End a trial in one of all ways."""
    if trial.number % 6 == 4:
        study.tell(trial, state=TrialState.FAIL)
    elif trial.number % 5 == 2:
        trial.set_constraint("memory", value)
        study.tell(trial, state=TrialState.PRUNED)
    elif trial.number % 3 == 1:
        trial.report(math.nan if trial.number % 7 == 0 else value, trial.number % 4)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def run(study: Study, trials: int, at_once: int) -> list[dict[str, object]]:
    """Run trials, so many at a time, which end in an order of their own."""
    rng, running = np.random.default_rng(0), []
    for _ in range(trials):
        trial = study.ask()
        params = SPACE.suggest(trial)
        running.append((trial, params["depth"] * params["dropout"] + len(params) / 7))
        if len(running) == at_once:
            tell(study, *running.pop(int(rng.integers(at_once))))
    return [trial.params for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("at_once", [1, 4])
def test_up_to_the_windows_size_each_draw_is_that_of_stock_tpe(at_once: int) -> None:
    ours = build_sampler(SamplerConfig(n_startup_trials=8), 7)
    found, stock = (
        run(optuna.create_study(sampler=one), 50, at_once) for one in (ours, StockTPE(7))
    )
    assert found == stock


@pytest.mark.parametrize("mode", ["minimize", "maximize"])
def test_the_good_trials_of_a_window_are_those_of_the_whole_study(mode: str) -> None:
    study = optuna.create_study(direction=mode, sampler=optuna.samplers.RandomSampler(0))
    run(study, 400, 5)
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=states)
    stock, _ = _split_trials(study, trials, BEST)
    good, others = History(study, 260).window().split(default_gamma, but=-1)
    assert [t.number for t in good] == [t.number for t in stock]
    finished = [t.number for t in trials if t.state.is_finished() and t not in stock]
    seen = [t.number for t in others]
    assert [n for n in seen if n in finished] == finished[-(260 - BEST) :]
    assert {t.number for t in trials if t.state == TrialState.RUNNING} <= set(seen)


def test_a_window_depends_on_the_trials_and_not_on_when_they_were_read() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    history = History(study, 40)
    for _ in range(12):
        run(study, 10, 4)
        study._thread_local.cached_all_trials = None
        step_by_step, at_once = history.window(), History(study, 40).window()
        for one, other in zip(
            step_by_step.split(default_gamma, -1), at_once.split(default_gamma, -1), strict=True
        ):
            assert [t.number for t in one] == [t.number for t in other]
        assert step_by_step._get_trials() == at_once._get_trials()


def test_branches_stand_in_the_order_of_trials_whichever_ended_first() -> None:
    study = optuna.create_study()
    history = History(study, 40)
    first, second = study.ask(), study.ask()
    for trial, own in ((first, "of_first"), (second, "of_second")):
        trial.suggest_float("shared", 0, 1)
        trial.suggest_float(own, 0, 1)
    for trial in (second, first):
        study.tell(trial, 1.0)
        study._thread_local.cached_all_trials = None
        history.window()
    afterwards = History(study, 40).window()
    assert history.branches.search_spaces == afterwards.branches.search_spaces
    assert list(map(list, history.branches.search_spaces)) == [
        ["shared"],
        ["of_first"],
        ["of_second"],
    ]


@pytest.mark.usefixtures("small_window")
def test_a_resume_changes_no_suggestion_of_a_study_larger_than_the_window() -> None:
    config = SamplerConfig(n_startup_trials=8)
    straight = optuna.create_study(sampler=build_sampler(config, 7, SPACE))
    broken = optuna.create_study(sampler=build_sampler(config, 7, SPACE))
    run(straight, 120, 1)
    for part in (30, 40, 50):
        broken.sampler = build_sampler(config, 7, SPACE)
        run(broken, part, 1)
    assert [t.params for t in broken.trials] == [t.params for t in straight.trials]


@pytest.mark.usefixtures("small_window")
def test_a_branch_that_only_old_trials_took_is_still_sampled_together() -> None:
    study = optuna.create_study(sampler=build_sampler(SamplerConfig(n_startup_trials=8), 7))
    branch = {"ffn_type": "mixture_of_experts", "n_experts": 3}
    for i in range(60):
        study.enqueue_trial(branch if i < 10 else {"ffn_type": "regression"})
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, float(i))
    study.sampler = build_sampler(SamplerConfig(n_startup_trials=8), 7)
    asked = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert "n_experts" in asked


@pytest.mark.usefixtures("small_window")
def test_tpe_looks_at_no_more_trials_than_the_window_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def watched(self: window.Window, gamma: object, but: int) -> tuple[list[FrozenTrial], ...]:
        good, others = split(self, default_gamma, but)
        seen.append(len(good) + len(others))
        return good, others

    split = window.Window.split
    monkeypatch.setattr(window.Window, "split", watched)
    run(optuna.create_study(sampler=build_sampler(SamplerConfig(), 7)), 120, 1)
    assert max(seen) == 40


def _best(seeds: Iterator[int]) -> list[float]:
    found = []
    for seed in seeds:
        study = optuna.create_study(sampler=build_sampler(SamplerConfig(), seed))
        for _ in range(200):
            trial = study.ask()
            x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15)
            bend = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
            study.tell(trial, bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)
        found.append(study.best_value - 0.397887)
    return found


def test_a_window_finds_the_minimum_of_a_function_as_all_trials_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Branin's function: its values lie between 0.4 and 308."""
    every = _best(iter(range(2)))
    monkeypatch.setattr(tpe, "WINDOW", 60)
    windowed = _best(iter(range(2)))
    assert windowed != every
    assert max(every) < 0.1
    assert max(windowed) < 0.1
