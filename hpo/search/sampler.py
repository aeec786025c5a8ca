"""Who suggests the next configuration, seeded by trial number so that a resume repeats nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna import Study, create_study
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from chemprop_hpo.configs.errors import SpaceError
from chemprop_hpo.configs.schema import SamplerConfig, SweepConfig, Value
from chemprop_hpo.configs.space import base_point
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.search.tpe import NumberedTPE, seed_of

__all__ = ["budget", "build_sampler", "grid_points", "preset_points", "sample_points"]

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
        return NumberedTPE(
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


def budget(config: SweepConfig, presets: Sequence[Mapping[str, Value]]) -> int:
    """Return how many trials the study is to have; ``presets`` are its `preset_points`."""
    is_grid = config.sampler.type == "grid"
    return min(config.num_samples, len(presets)) if is_grid else config.num_samples


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


class _NumberedRandom(RandomSampler):
    """Random search whose draw for a trial depends on the seed and the trial's number."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._base_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._rng.rng.seed(seed_of(self._base_seed, trial.number))
        super().before_trial(study, trial)
