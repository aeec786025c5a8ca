"""A made-up search: the learning rate matters, good ones lie at the top end, the rest is noise."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter, SearchedTrial

HEADS = ("regression", "branched", "mixture_of_experts")
EVERY = (
    SearchedParameter("max_lr", 1e-4, 1e-2, log=True, importance=0.41, by_chance=0.09),
    SearchedParameter("ffn_type", choices=HEADS, importance=0.12, by_chance=0.06),
    SearchedParameter(
        "dropout", 0.0, 0.4, 0.05, can_be_lower=False, importance=0.08, by_chance=0.09
    ),
    SearchedParameter("init_lr_ratio", 0.01, 1.0, log=True, importance=0.06, by_chance=0.1),
    SearchedParameter("final_lr_ratio", 0.001, 1.0, log=True, importance=0.06, by_chance=0.07),
    SearchedParameter("weight_decay", choices=(0.0, 1e-6, 1e-4), importance=0.05, by_chance=0.06),
    SearchedParameter("batch_size", choices=(16, 32, 64, 128, 256), importance=0.05, by_chance=0.1),
    SearchedParameter("depth", 2, 6, 1, importance=0.04, by_chance=0.08),
    SearchedParameter("message_hidden_dim", 100, 600, 100, importance=0.04, by_chance=0.08),
    SearchedParameter(
        "aggregation", choices=("mean", "sum", "norm"), importance=0.03, by_chance=0.05
    ),
    SearchedParameter("hidden_dim", 100, 600, 100, importance=0.03, by_chance=0.08),
    SearchedParameter("batch_norm", choices=(True, False), importance=0.02, by_chance=0.05),
    SearchedParameter(
        "trunk_n_layers",
        1,
        3,
        1,
        condition="ffn_type == 'branched'",
        importance=0.01,
        by_chance=0.03,
    ),
    SearchedParameter(
        "n_experts",
        2,
        8,
        1,
        condition="ffn_type == 'mixture_of_experts'",
        importance=0.0,
        by_chance=0.02,
    ),
)


def made_search(trials: int = 100, parameters: int = 14, *, seed: int = 0) -> Search:
    """Make complete trials over the first of ``EVERY``."""
    rng = np.random.default_rng(seed)
    chosen = EVERY[:parameters]
    points = [_point(rng, chosen) for _ in range(trials)]
    values = [0.6 + 0.2 * (math.log10(p["max_lr"]) + 2) ** 2 + rng.normal(0, 0.05) for p in points]
    top = min(trials, max(5, math.ceil(trials / 10)))
    found = tuple(
        SearchedTrial(int(i), float(values[i]), points[i], place < top)
        for place, i in enumerate(np.argsort(values))
    )
    return Search(chosen, found, stopped=trials // 2)


def _point(rng: np.random.Generator, chosen: tuple[SearchedParameter, ...]) -> Mapping[str, object]:
    point = {p.name: _draw(rng, p) for p in chosen}
    head = point.get("ffn_type")
    absent = {p.name for p in chosen if p.condition and f"'{head}'" not in p.condition}
    return {name: value for name, value in point.items() if name not in absent}


def _draw(rng: np.random.Generator, parameter: SearchedParameter) -> object:
    if parameter.choices:
        return parameter.choices[int(rng.integers(len(parameter.choices)))]
    low, high = parameter.ends
    if parameter.log:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    step = parameter.step or 1
    value = low + step * int(rng.integers(round((high - low) / step) + 1))
    return round(value, 6) if isinstance(parameter.low, float) else int(value)
