"""TPE that depends on nothing but the study, and whose time does not grow with it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import FrozenTrial

from chemprop_hpo.hpo.search.window import WINDOW, History, Window

__all__ = ["NumberedTPE", "seed_of"]

_Row = tuple[float, ...] | None


def seed_of(base: int, number: int) -> int:
    """Return the seed with which the hyperparameters of one trial are drawn."""
    return int(np.random.SeedSequence([base, number]).generate_state(1)[0])


class NumberedTPE(TPESampler):
    """TPE over the joint space of each branch, reseeded before each trial.

    ``group`` splits the space into the branches' own joint spaces; without it the parameters
    of a branch are sampled one by one, without their correlations. Of a study with more
    finished trials than `WINDOW` it looks at the best and the latest. Up to there it draws
    what Optuna's own would draw, made anew with the same seed.

    Parameters
    ----------
    seed : int
        The study's base seed.
    ranges : mapping
        What each parameter is asked now; without it, what the first trials were asked.
    n_startup_trials, n_ei_candidates : int
        As for Optuna's.
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
        self._window_size = max(WINDOW, n_startup_trials)
        self._history: History | None = None
        self._window: Window | None = None
        self._rows: dict[tuple[str, ...], dict[int, _Row]] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the draws of a trial; see ``BaseSampler``."""
        self._window = None
        seed = seed_of(self._base_seed, trial.number)
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)
        super().before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what is sampled together, in the ranges of now; see ``BaseSampler``."""
        self._search_space_group = copy.deepcopy(self._look(study).branches)
        groups = self._search_space_group.search_spaces
        for group in groups:
            # Optuna takes the ranges of the first trials for those of all that follow.
            group.update({name: self._ranges[name] for name in group.keys() & self._ranges.keys()})
        now = {name: asked for group in groups for name, asked in sorted(group.items())}
        known = self._ranges or now
        return {n: d for n, d in now.items() if n in known and not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample what belongs together; see ``BaseSampler``."""
        seen = cast(Study, self._look(study))
        return super().sample_relative(seen, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample what was asked of too few trials yet; see ``BaseSampler``."""
        seen = cast(Study, self._look(study))
        return super().sample_independent(seen, trial, param_name, param_distribution)

    def _look(self, study: Study) -> Window:
        """Return the study with the trials that count, the same for all of one point."""
        if isinstance(study, Window):
            return study
        if self._history is None or self._history.study is not study:
            self._history, self._window = History(study, self._window_size), None
            self._rows.clear()
        if self._window is None:
            self._window = self._history.window()
        return self._window

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        # As Optuna's, which would rank all trials anew for each branch.
        good, others = self._look(study).split(default_gamma, trial.number)
        below = self._build_parzen_estimator(study, search_space, good, handle_below=True)
        above = self._build_parzen_estimator(study, search_space, others, handle_below=False)
        drawn = below.sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(drawn, self._compute_acquisition_func(drawn, below, above))
        return {name: d.to_external_repr(chosen[name]) for name, d in search_space.items()}

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, np.ndarray]:
        found = [row for row in self._rows_of(trials, search_space, study) if row is not None]
        columns = np.array(found, dtype=float).reshape(len(found), len(search_space)).T
        return dict(zip(search_space, columns, strict=True))

    def _rows_of(
        self, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> list[_Row]:
        known = self._rows.setdefault(tuple(search_space), {})
        if len(known) > 2 * self._window_size:
            known.clear()
        rows = []
        for trial in trials:
            number = trial.number
            row = known[number] if number in known else self._row(trial, search_space, study)
            if trial.state.is_finished():
                known[number] = row
            rows.append(row)
        return rows

    def _row(
        self, trial: FrozenTrial, search_space: dict[str, BaseDistribution], study: Study
    ) -> _Row:
        """Return a trial's hyperparameters of a branch, or None if it took another."""
        params = self._get_params(trial, study)
        if not search_space.keys() <= params.keys():
            return None
        return tuple(float(d.to_internal_repr(params[name])) for name, d in search_space.items())
