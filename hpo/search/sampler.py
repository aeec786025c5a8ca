"""Who suggests the next configuration, seeded by trial number so that a resume repeats nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from optuna import Study, create_study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import SamplerConfig, SweepConfig, Value
from chemprop_hpo.configs.space import base_point
from chemprop_hpo.hpo.search.space import Space

__all__ = ["build_sampler", "grid_points", "preset_points", "sample_points"]

MAX_GRID_POINTS = 100_000


def build_sampler(config: SamplerConfig, seed: int, space: Space | None = None) -> BaseSampler:
    """Return the Optuna sampler of a configuration.

    Every suggestion depends on the study's history, the seed and the trial's number only:
    stopping a sweep between two trials and resuming it gives what not stopping would have
    given. A grid is a list of preset points (`preset_points`); its sampler is never asked.

    Parameters
    ----------
    config : SamplerConfig
        The kind and its settings.
    seed : int
        The study's base seed.
    space : Space, optional
        The space as it is now. Without it TPE goes on in the ranges of the study's first trials.
    """
    if config.type == "tpe":
        return _NumberedTPE(
            seed,
            {} if space is None else space.distributions(),
            n_startup_trials=config.n_startup_trials,
            n_ei_candidates=config.n_ei_candidates,
        )
    return _NumberedRandom(seed)


def preset_points(config: SweepConfig, space: Space) -> Sequence[Mapping[str, Value]]:
    """Return the points to try first, in order: base, ``enqueue``, then the rest of a grid.

    On a grid, an entry of ``enqueue`` stands for all points that it fits.
    """
    first: list[Mapping[str, Value]] = [base_point(config)] if config.base else []
    first += config.enqueue
    if config.sampler.type != "grid":
        return first
    points = grid_points(space)
    return sorted(points, key=lambda point: _rank(point, first))  # stable: the grid's own order


def _rank(point: Mapping[str, Value], first: Sequence[Mapping[str, Value]]) -> int:
    fits = (i for i, entry in enumerate(first) if entry.items() <= point.items())
    return next(fits, len(first))


def sample_points(config: SweepConfig, space: Space, n: int) -> list[dict[str, Value]]:
    """Return the first ``n`` points that a new study of this configuration would try."""
    study = create_study(sampler=build_sampler(config.sampler, config.seed, space))
    presets = preset_points(config, space)
    for point in presets[:n]:
        study.enqueue_trial(dict(point))
    wanted = min(n, len(presets)) if config.sampler.type == "grid" else n
    return [space.suggest(study.ask()) for _ in range(wanted)]


def grid_points(space: Space) -> list[dict[str, Value]]:
    """Return all points of a finite space.

    Raises
    ------
    SpaceError
        If a parameter is continuous, or there are more than ``MAX_GRID_POINTS``.
    """
    points: list[dict[str, Value]] = []
    for point in space.points():
        points.append(point)
        if len(points) > MAX_GRID_POINTS:
            raise SpaceError(
                f"search_space: a grid of more than {MAX_GRID_POINTS:,} points; "
                "list fewer values, or use sampler.type: tpe or random"
            )
    return points


def _seed_of(base: int, number: int) -> int:
    return int(np.random.SeedSequence([base, number]).generate_state(1)[0])


class _NumberedRandom(RandomSampler):
    """Random search whose draw for a trial depends on the seed and the trial's number."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._base_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._rng.rng.seed(_seed_of(self._base_seed, trial.number))
        super().before_trial(study, trial)


class _NumberedTPE(TPESampler):
    """TPE over the joint space of each branch, reseeded before each trial.

    ``group`` splits the space into the branches' own joint spaces; without it the parameters
    of a branch are sampled one by one, without their correlations.
    """

    def __init__(
        self,
        seed: int,
        ranges: Mapping[str, BaseDistribution],
        *,
        n_startup_trials: int,
        n_ei_candidates: int,
    ) -> None:
        with warnings.catch_warnings():
            # Optuna calls `group` experimental; the version is pinned.
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(
                n_startup_trials=n_startup_trials,
                n_ei_candidates=n_ei_candidates,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=seed,
            )
        self._base_seed = seed
        self._ranges = ranges

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        inferred = super().infer_relative_search_space(study, trial)
        if not self._ranges or self._search_space_group is None:
            return inferred
        # Optuna takes the ranges of the first trials for those of all that follow.
        groups = self._search_space_group.search_spaces
        for group in groups:
            group.update({name: self._ranges[name] for name in group.keys() & self._ranges.keys()})
        now = {name: asked for group in groups for name, asked in sorted(group.items())}
        return {n: d for n, d in now.items() if n in self._ranges and not d.single()}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        seed = _seed_of(self._base_seed, trial.number)
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)
        super().before_trial(study, trial)
