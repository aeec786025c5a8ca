"""Samplers: a suggestion depends on history, seed and trial number only."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import SamplerConfig, SweepConfig
from chemprop_hpo.hpo.search.sampler import build_sampler, preset_points
from chemprop_hpo.hpo.search.space import Space

SPACE = {
    "depth": {"type": "randint", "low": 2, "high": 6},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
    "ffn_type": {"type": "choice", "choices": ["regression", "mixture_of_experts"]},
    "n_experts": {
        "type": "randint",
        "low": 2,
        "high": 8,
        "condition": "ffn_type == 'mixture_of_experts'",
    },
}


def config_of(search_space: dict[str, Any], **sections: Any) -> SweepConfig:
    data = {"file": "x.csv", "target_cols": ["y"]}
    return SweepConfig.model_validate({"data": data, "search_space": search_space, **sections})


def run(study: optuna.Study, space: Space, n: int) -> None:
    for _ in range(n):
        trial = study.ask()
        point = space.suggest(trial)
        study.tell(trial, float(point["depth"]) + float(point["dropout"]))


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_stopping_between_trials_changes_no_suggestion(kind: str) -> None:
    space = Space.of(config_of(SPACE))
    config = SamplerConfig(type=kind, n_startup_trials=5)
    straight = optuna.create_study(sampler=build_sampler(config, 7))
    run(straight, space, 20)
    broken = optuna.create_study(sampler=build_sampler(config, 7))
    for part in (4, 9, 7):
        broken.sampler = build_sampler(config, 7)
        run(broken, space, part)
    assert [t.params for t in broken.trials] == [t.params for t in straight.trials]


def test_a_resumed_study_repeats_no_startup_point() -> None:
    space = Space.of(config_of(SPACE))
    study = optuna.create_study(sampler=build_sampler(SamplerConfig(), 3))
    run(study, space, 3)
    study.sampler = build_sampler(SamplerConfig(), 3)
    run(study, space, 3)
    assert len({t.params["dropout"] for t in study.trials}) == 6


def test_another_seed_gives_other_points() -> None:
    space = Space.of(config_of(SPACE))
    drawn = []
    for seed in (1, 2):
        study = optuna.create_study(sampler=build_sampler(SamplerConfig(), seed))
        run(study, space, 3)
        drawn.append([t.params for t in study.trials])
    assert drawn[0] != drawn[1]


def test_tpe_samples_the_parameters_of_a_branch_together() -> None:
    sampler = build_sampler(SamplerConfig(n_startup_trials=5), 0)
    study = optuna.create_study(sampler=sampler)
    space = Space.of(config_of(SPACE))
    run(study, space, 30)
    groups = sampler.infer_relative_search_space(study, study.trials[-1])
    assert {"depth", "dropout", "ffn_type", "n_experts"} <= set(groups)


def space_between(low: float, high: float) -> Space:
    depth = {"type": "randint", "low": int(low * 10), "high": int(high * 10)}
    dropout = {"type": "uniform", "low": low, "high": high}
    return Space.of(config_of(SPACE | {"depth": depth, "dropout": dropout}))


@pytest.mark.parametrize("before", [(0.4, 0.5), (0.6, 0.8), (0.0, 1.0)])
def test_tpe_samples_in_the_ranges_that_the_configuration_has_now(
    before: tuple[float, float],
) -> None:
    config = SamplerConfig(n_startup_trials=5)
    study = optuna.create_study(sampler=build_sampler(config, 0, space_between(*before)))
    run(study, space_between(*before), 15)
    now = space_between(0.3, 0.7)
    study.sampler = build_sampler(config, 0, now)
    run(study, now, 40)
    new = [trial.params for trial in study.trials[15:]]
    assert all(3 <= point["depth"] <= 7 and 0.3 <= point["dropout"] <= 0.7 for point in new)
    if before != (0.0, 1.0):
        low, high = before
        assert any(not low <= point["dropout"] <= high for point in new)
        assert any(not low * 10 <= point["depth"] <= high * 10 for point in new)


def test_tpe_asks_for_no_parameter_that_was_taken_out_and_for_each_that_came() -> None:
    config = SamplerConfig(n_startup_trials=5)
    old, new = (
        Space.of(config_of({name: p for name, p in SPACE.items() if name != left_out}))
        for left_out in ("dropout", "depth")
    )
    study = optuna.create_study(sampler=build_sampler(config, 0, old))
    for space in (old, new):
        study.sampler = build_sampler(config, 0, space)
        for _ in range(12):
            trial = study.ask()
            study.tell(trial, float(len(space.suggest(trial))))
    assert all("depth" not in trial.params for trial in study.trials[12:])
    assert len({trial.params["dropout"] for trial in study.trials[12:]}) == 12


def test_presets_are_base_then_enqueued_then_the_rest_of_the_grid() -> None:
    grid = {
        "depth": {"type": "choice", "choices": [2, 3, 4]},
        "batch_size": {"type": "choice", "choices": [32, 64]},
    }
    config = config_of(grid, sampler={"type": "grid"}, enqueue=[{"depth": 4, "batch_size": 32}])
    presets = preset_points(config, Space.of(config))
    assert presets[:2] == [{"depth": 3, "batch_size": 64}, {"depth": 4, "batch_size": 32}]
    assert len(presets) == 6
    assert len({tuple(sorted(p.items())) for p in presets}) == 6


def test_an_enqueued_entry_of_a_grid_stands_for_all_points_that_it_fits() -> None:
    grid = {
        "depth": {"type": "choice", "choices": [2, 3, 4]},
        "batch_size": {"type": "choice", "choices": [32, 64]},
    }
    config = config_of(grid, sampler={"type": "grid"}, enqueue=[{"depth": 4}], base=False)
    presets = preset_points(config, Space.of(config))
    assert [p["depth"] for p in presets] == [4, 4, 2, 2, 3, 3]


def test_a_grid_over_a_continuous_parameter_says_which() -> None:
    config = config_of(
        {"max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2}}, sampler={"type": "grid"}
    )
    with pytest.raises(SpaceError, match=r"max_lr.*sampler\.type: tpe"):
        preset_points(config, Space.of(config))
