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
    test_rows: int = 20,
    ranks: int = 3,
    folds: int = 5,
    seed: int = 0,
) -> ReportContent:
    rng = np.random.default_rng(seed)
    names = tuple(n for n in NAMES if not n.startswith("rank") or int(n[-1]) <= ranks)
    judge = _regression if task == "regression" else _classification
    several = len(targets) > 1
    ensembles = tuple(
        Ensemble(
            name,
            tuple(
                EnsembleTarget(
                    judge(rng, target, rows, NOISE[name]),
                    judge(rng, target, test_rows, NOISE[name] * 1.1, test=True)
                    if test_rows
                    else None,
                    _folds(rng, task, rows, folds, NOISE[name]),
                )
                for target in targets
            ),
            _interval(NOISE[name] * 0.8, 0.02) if several else None,
            _interval(NOISE[name] * 0.85, 0.03) if several and test_rows else None,
        )
        for name in names
    )
    metric = "val_rmse" if task == "regression" else "val_loss"
    return ReportContent(
        title="Ensembles of esol",
        study="esol",
        storage="postgresql+psycopg://chemist:***@db/studies",
        metric=metric,
        mode="min",
        task="regression" if task == "regression" else "classification",
        created=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
        targets=targets,
        ensembles=ensembles,
        members=_members(rng, ranks, folds),
        decisions=(
            *(
                Decision(r, 10 + r, 0.6 + r / 100, True, "among the best")
                for r in range(1, ranks + 1)
            ),
            Decision(None, 31, 0.655, False, "same parameters as trial 12"),
        ),
        configurations={
            r: {
                "depth": 2 + r,
                "dropout": 0.05 * r,
                "max_lr": 1.2345e-4 * r,
                "ffn_type": "regression",
            }
            for r in range(1, ranks + 1)
        },
        combinations=tuple(
            Combination(
                tuple(f"rank {r}, split 0" for r in range(1, ranks + 1)),
                tuple(1 / ranks for _ in range(ranks)),
                Interval(0.004, -0.003, 0.011),
                "mean",
            )
            for _ in targets
        ),
        notes=("Test data was scored once, after the configurations were fixed.",),
        versions={"python": "3.11.9", "chemprop": "2.3.1", "cuik": None},
    )


def without_test(content: ReportContent) -> ReportContent:
    ensembles = tuple(
        replace(e, macro_test=None, targets=tuple(replace(t, test=None) for t in e.targets))
        for e in content.ensembles
    )
    return replace(content, ensembles=ensembles)


def _regression(
    rng: np.random.Generator, target: Target, n: int, noise: float, *, test: bool = False
) -> Judged:
    centre, spread = (-3.0, 2.0) if target.transform == "none" else (1.4, 0.8)
    labels = rng.normal(centre, spread, n)
    if target.transform == "log10p1":
        labels = np.log10(np.maximum(10**labels, 0.01) + 1)
    similarity = np.clip(rng.normal(0.55, 0.18, n), 0.05, 1.0)
    scale = noise * spread / 2 * (1.6 - similarity)
    mean = labels + scale * rng.normal(size=n)
    widths = {level: z * scale for level, z in ((80, 1.28), (90, 1.64), (95, 1.96))}
    coverage = {
        level: Coverage(float((np.abs(labels - mean) <= half).mean()), n)
        for level, half in widths.items()
    }
    transformed = _regression_figures(labels, mean)
    if target.transform == "none":
        figures, others = transformed, None
    else:
        figures, others = _regression_figures(10**labels - 1, 10**mean - 1), transformed
    return Judged(
        labels, mean, scale / 2, figures, others, widths, coverage, similarity if test else None
    )


def _regression_figures(
    labels: NDArray[np.float64], mean: NDArray[np.float64]
) -> dict[str, Interval]:
    n = len(labels)
    rmse = float(np.sqrt(np.mean((labels - mean) ** 2)))
    r = float(np.corrcoef(labels, mean)[0, 1])
    r2 = 1 - rmse**2 / float(labels.var())
    shares = {"r2": r2, "pearson": r, "spearman": r * 0.98, "kendall": r * 0.8}
    figures = {"rmse": _interval(rmse, rmse / np.sqrt(n)), "mae": _interval(rmse * 0.78, rmse / n)}
    figures |= {name: _interval(x, (1.05 - x) / np.sqrt(n)) for name, x in shares.items()}
    return figures | {"rae": _interval(rmse / float(labels.std()), 1 / np.sqrt(n) / 3)}


def _classification(
    rng: np.random.Generator, target: Target, n: int, noise: float, *, test: bool = False
) -> Judged:
    logits = rng.normal(-0.6, 1.5, n)
    labels = (rng.uniform(size=n) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    mean = 1 / (1 + np.exp(-(logits + noise * rng.normal(size=n))))
    values = {
        "roc_auc": 0.98 - noise / 4,
        "prc_auc": 0.85 - noise / 4,
        "brier": 0.15,
        "log_loss": 0.4,
    }
    figures = {name: _interval(x, 0.6 / np.sqrt(n)) for name, x in values.items()}
    similarity = rng.uniform(0.2, 1, n) if test else None
    return Judged(labels, mean, np.full(n, 0.05), figures, similarity=similarity)


def _folds(
    rng: np.random.Generator, task: str, rows: int, folds: int, noise: float
) -> tuple[FoldFigures, ...]:
    def figures() -> Mapping[str, float]:
        return {
            "rmse": noise + rng.normal(0, 0.05),
            "roc_auc": 0.95 - noise / 4 + rng.normal(0, 0.03),
        }

    return tuple(FoldFigures(0, fold, rows // folds, figures()) for fold in range(folds))


def _members(rng: np.random.Generator, ranks: int, folds: int) -> tuple[Member, ...]:
    return tuple(_member(rng, rank, fold) for rank in range(1, ranks + 1) for fold in range(folds))


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


def _interval(value: float, half: float) -> Interval:
    return Interval(float(value), float(value - 1.96 * half), float(value + 1.96 * half))
