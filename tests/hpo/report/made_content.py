"""Made-up content of a report: a world in which the combination is a little better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from chemprop_hpo.hpo.evaluation.bootstrap import Interval
from chemprop_hpo.hpo.report.content import (
    Combination,
    Coverage,
    Decision,
    Ensemble,
    EnsembleTarget,
    FoldFigures,
    Judged,
    Member,
    ReportContent,
    Target,
)

Float64 = NDArray[np.float64]

NINE = (
    Target("LogD"),
    Target("KSOL", "µM", "log10p1"),
    Target("HLM CLint", "mL/min/kg", "log10p1"),
    Target("MLM CLint", "mL/min/kg", "log10p1"),
    Target("Caco-2 Permeability Papp A>B", "10⁻⁶ cm/s", "log10p1"),
    Target("Caco-2 Permeability Efflux", "", "log10p1"),
    Target("MPPB", "% unbound", "log10p1"),
    Target("MBPB", "% unbound", "log10p1"),
    Target("MGMB", "% unbound", "log10p1"),
)
NAMES = ("single best", "rank 1", "rank 2", "rank 3", "combined")
NOISE = {"single best": 0.75, "rank 1": 0.66, "rank 2": 0.68, "rank 3": 0.7, "combined": 0.62}


def made_content(
    targets: tuple[Target, ...] = (Target("solubility", "log mol/L"),),
    *,
    task: str = "regression",
    rows: int = 60,
    test_rows: int = 40,
    ranks: int = 3,
    folds: int = 5,
    seed: int = 0,
) -> ReportContent:
    """Make content with few rows and members, or many."""
    names = tuple(n for n in NAMES if not n.startswith("rank") or int(n[-1]) <= ranks)
    ensembles = tuple(
        _ensemble(name, targets, task, (rows, test_rows), folds, seed) for name in names
    )
    rng = np.random.default_rng(seed)
    return ReportContent(
        title="Ensembles of esol",
        study="esol",
        storage="postgresql+psycopg://chemist:***@db/studies",
        metric="val_rmse" if task == "regression" else "val_loss",
        mode="min",
        task="regression" if task == "regression" else "classification",
        created=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
        targets=targets,
        ensembles=ensembles,
        members=tuple(_member(rng, r, f) for r in range(1, ranks + 1) for f in range(folds)),
        decisions=_decisions(ranks),
        configurations={r: _parameters(r) for r in range(1, ranks + 1)},
        combinations=tuple(_combination(ranks, i) for i in range(len(targets))),
        notes=("Test data was scored once, after the configurations were fixed.",),
        versions={"python": "3.11.9", "chemprop": "2.3.1", "cuik": None},
    )


def without_test(content: ReportContent) -> ReportContent:
    """Take the test data out of a content."""
    ensembles = tuple(
        replace(e, macro_test=None, targets=tuple(replace(t, test=None) for t in e.targets))
        for e in content.ensembles
    )
    return replace(content, ensembles=ensembles)


def interval(value: float, half: float) -> Interval:
    return Interval(float(value), float(value - half), float(value + half))


# ----------------------------------------------------------------------------- predictions


def _ensemble(
    name: str,
    targets: tuple[Target, ...],
    task: str,
    rows: tuple[int, int],
    folds: int,
    seed: int,
) -> Ensemble:
    noise, macro = NOISE[name], len(targets) > 1
    rng = np.random.default_rng([seed, NAMES.index(name)])
    results = tuple(
        EnsembleTarget(
            _out_of_fold(_judged(task, target, rows[0], noise, (seed, i, 0), rng), folds),
            _judged(task, target, rows[1], noise * 1.1, (seed, i, 1), rng),
            _folds(rng, rows[0], folds, noise),
        )
        for i, target in enumerate(targets)
    )
    value = noise * 0.8 if task == "regression" else 0.98 - noise / 4
    return Ensemble(
        name,
        results,
        interval(value, 0.04) if macro else None,
        interval(value * 1.02, 0.06) if macro and rows[1] else None,
    )


def _judged(
    task: str,
    target: Target,
    n: int,
    noise: float,
    place: tuple[int, ...],
    rng: np.random.Generator,
) -> Judged | None:
    """Judge made-up predictions; labels and similarities are those of the place alone."""
    if not n:
        return None
    world = np.random.default_rng(place)
    make = _regression if task == "regression" else _classification
    return make(world, rng, target, n, noise)


def _out_of_fold(judged: Judged | None, folds: int) -> Judged | None:
    if judged is None or not folds:
        return judged
    return replace(judged, folds=np.arange(judged.n) % folds)


def _regression(
    world: np.random.Generator, rng: np.random.Generator, target: Target, n: int, noise: float
) -> Judged:
    centre, spread = (-3.0, 2.0) if target.transform == "none" else (1.4, 0.8)
    labels = world.normal(centre, spread, n)
    if target.transform == "log10p1":
        labels = np.log10(np.maximum(10**labels, 0.01) + 1)
    similarity = np.clip(world.normal(0.55, 0.18, n), 0.05, 1.0)
    scale = noise * spread / 2 * (1.6 - similarity)
    mean = labels + scale * (0.8 * world.normal(size=n) + 0.6 * rng.normal(size=n))
    widths = {level: z * scale for level, z in ((80, 1.28), (90, 1.64), (95, 1.96))}
    coverage = {
        level: Coverage(float((np.abs(labels - mean) <= half).mean()), n)
        for level, half in widths.items()
    }
    figures, transformed = _regression_figures(labels, mean), None
    if target.transform != "none":
        figures, transformed = _regression_figures(10**labels - 1, 10**mean - 1), figures
    return Judged(labels, mean, scale / 2, figures, transformed, widths, coverage, similarity)


def _regression_figures(labels: Float64, mean: Float64) -> dict[str, Interval]:
    n = len(labels)
    rmse, mae = float(np.sqrt(np.mean((labels - mean) ** 2))), float(np.abs(labels - mean).mean())
    figures = {"rmse": interval(rmse, rmse / np.sqrt(n)), "mae": interval(mae, mae / np.sqrt(n))}
    if n < 3:
        return figures
    r = float(np.corrcoef(labels, mean)[0, 1])
    r2 = 1 - rmse**2 / float(labels.var())
    shares = {"r2": r2, "pearson": r, "spearman": r * 0.98, "kendall": r * 0.8}
    figures |= {name: interval(x, 2 * (1.05 - x) / np.sqrt(n)) for name, x in shares.items()}
    return figures | {"rae": interval(mae / float(labels.std()), 0.7 / np.sqrt(n))}


def _classification(
    world: np.random.Generator, rng: np.random.Generator, target: Target, n: int, noise: float
) -> Judged:
    logits = world.normal(-0.6, 1.5, n)
    labels = (world.uniform(size=n) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    mean = 1 / (1 + np.exp(-(logits + noise * rng.normal(size=n))))
    values = {"roc_auc": 0.98 - noise / 4, "prc_auc": 0.85 - noise / 4}
    values |= {"brier": 0.1 + noise / 10, "log_loss": 0.3 + noise / 5}
    figures = {name: interval(x, 1.2 / np.sqrt(n)) for name, x in values.items()}
    return Judged(labels, mean, np.full(n, 0.05), figures, similarity=world.uniform(0.2, 1, n))


def _folds(
    rng: np.random.Generator, rows: int, folds: int, noise: float
) -> tuple[FoldFigures, ...]:
    def figures() -> Mapping[str, float]:
        return {
            "rmse": noise + rng.normal(0, 0.05),
            "roc_auc": 0.95 - noise / 4 + rng.normal(0, 0.03),
        }

    return tuple(FoldFigures(0, fold, rows // folds, figures()) for fold in range(folds))


# ----------------------------------------------------------------------------- the study


def _decisions(ranks: int) -> tuple[Decision, ...]:
    taken = (
        Decision(r, 10 + r, 0.6 + r / 100, True, "among the best") for r in range(1, ranks + 1)
    )
    return (*taken, Decision(None, 31, 0.655, False, "same parameters as trial 12"))


def _parameters(rank: int) -> Mapping[str, object]:
    return {"depth": 2 + rank, "max_lr": 1.2345e-4 * rank, "ffn_type": "regression"}


def _combination(ranks: int, target: int) -> Combination:
    units = tuple(f"rank {r}, split 0" for r in range(1, ranks + 1))
    if target % 3 == 2 and ranks == 3:
        return Combination(units, (0.62, 0.38, 0.0), interval(0.012, 0.007), "greedy")
    return Combination(units, tuple(1 / ranks for _ in units), interval(0.004, 0.007), "mean")


def _member(rng: np.random.Generator, rank: int, fold: int) -> Member:
    epochs = int(rng.integers(30, 60))
    at = np.arange(epochs)
    curve = 0.6 + 0.02 * rank + 1.2 * np.exp(-at / 6) + 0.002 * at + rng.normal(0, 0.02, epochs)
    best = int(np.argmin(curve))
    return Member(
        rank,
        10 + rank,
        0,
        fold,
        12345 + 100 * rank + fold,
        epochs,
        best + 1,
        float(curve[best]),
        "early_stopping",
        tuple(float(x) for x in curve),
    )
