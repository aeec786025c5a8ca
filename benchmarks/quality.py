"""How good are the predictions: sweeps and ensembles on public data, held against known figures.

    python benchmarks/quality.py --data DATA --out OUT [--only esol biogen expansionrx]
        [--arms tuned defaults features]

``DATA`` holds ``esol/delaney-processed.csv``, ``biogen_adme/{HLM,RLM,Sol}_{train,test}.csv`` and
``expansionrx/expansion_data_train.csv``. Each study is kept in ``OUT``: a run that was ended goes
on where it was. An ESOL split's tuned arm took 20 to 40 minutes on two CPU cores that did other
work as well; all of it takes hours. What was measured lies in ``benchmarks/figures``, a file a
study, and is not measured again while it lies there. The last lines are tables in Markdown.

Every data set has three arms. ``defaults`` are Chemprop's own hyperparameters, ``features`` the
same with RDKit descriptors beside the graph, ``tuned`` the best three of a short sweep that
begins with these two and goes on until three trials are complete. Of ``tuned`` there are the
single model that the sweep itself would give, the ensemble of the folds of the best configuration
(all eight on ESOL, else two, but one for Biogen's later seeds), and the combination of all; of the
other two the single model on the same fold.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.run import make_ensembles
from chemprop_hpo.hpo.sweep import start_sweep

FIGURES = Path(__file__).parent / "figures"
FEATURES = "v1_rdkit_2d_normalized"
TRIALS = 10
TOP_K = 3
ARMS = ("tuned", "defaults", "features")

DEFAULTS: dict[str, Any] = {
    "model": {"aggregation": "norm"},
    "optimization": {"batch_size": 64},
    "mlflow": {"tracking": False},
    "resources": {"cpus_per_trial": 1},
    "metric": "val_rmse",
}

SPACE: dict[str, Any] = {
    "max_lr": {"type": "loguniform", "low": 3e-4, "high": 3e-3},
    "batch_size": {"type": "choice", "choices": [32, 64]},
    "depth": {"type": "randint", "low": 2, "high": 5},
    "message_hidden_dim": {"type": "randint", "low": 200, "high": 500, "step": 100},
    "aggregation": {"type": "choice", "choices": ["mean", "norm"]},
    "num_layers": {"type": "randint", "low": 1, "high": 3},
    "hidden_dim": {"type": "randint", "low": 200, "high": 500, "step": 100},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.3, "step": 0.05},
    "ffn_type": {"type": "choice", "choices": ["regression", "mixture_of_experts"]},
    "molecule_features": {"type": "choice", "choices": ["none", FEATURES]},
}


@dataclass(frozen=True)
class Case:
    """One data set with one split and seed."""

    suite: str
    name: str
    settings: Mapping[str, Any]
    max_epochs: int
    seed: int
    arms: tuple[str, ...] = ARMS
    trials: int = TRIALS
    folds: tuple[int, ...] | None = None


def esol(data: Path) -> Iterator[Case]:
    """Yield five random 70/10/20 splits of ESOL: eight folds of a tenth beside the test rows."""
    table = {
        "file": str(data / "esol" / "delaney-processed.csv"),
        "target_cols": ["measured log solubility in mols per litre"],
    }
    for seed in range(5):
        split = {"test_fraction": 0.2, "n_folds": 8, "seed": seed}
        yield Case("esol", "ESOL", {"data": table, "split": split}, 50, seed)


def biogen(data: Path) -> Iterator[Case]:
    """Yield three endpoints with the published split, three seeds each."""
    folder = data / "biogen_adme"
    for seed in range(3):
        for name in ("HLM", "RLM", "Sol"):
            table = {
                "file": str(folder / f"{name}_train.csv"),
                "test_file": str(folder / f"{name}_test.csv"),
                "target_cols": ["activity"],
            }
            settings = {"data": table, "split": {"n_folds": 8}}
            # What each step brings is told by one seed; two more tell the spread.
            arms, folds = (ARMS, (0, 1)) if seed == 0 else (("tuned",), (0,))
            yield Case("biogen", name, settings, 50, seed, arms, 6, folds)


def expansionrx(data: Path) -> Iterator[Case]:
    """Yield one scaffold split of nine endpoints."""
    file = data / "expansionrx" / "expansion_data_train.csv"
    targets = pd.read_csv(file, nrows=0).columns[2:].tolist()
    table = {
        "file": str(file),
        "smiles_col": "SMILES",
        "target_cols": targets,
        "target_transforms": {t: "none" if t == "LogD" else "log10p1" for t in targets},
    }
    split = {"method": "scaffold", "test_fraction": 0.1, "n_folds": 8}
    settings = {"data": table, "split": split, "metric": "val_nrmse"}
    yield Case("expansionrx", "ExpansionRx", settings, 30, 0, ARMS, 6, (0, 1))


SUITES = {"esol": esol, "biogen": biogen, "expansionrx": expansionrx}


def main() -> None:
    """Run what was asked for, and print the tables."""
    options = _options()
    logging.basicConfig(level=logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    parts = []
    for suite in options.only:
        cases = list(SUITES[suite](options.data))
        for arm in options.arms:
            for case in cases:
                if arm in case.arms:
                    parts.append(_figures(case, arm, options.out))
        figures = pd.concat(parts, ignore_index=True)
        for line in _report(suite, figures[figures.suite == suite]):
            print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=list(SUITES), default=list(SUITES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    return parser.parse_args()


def _figures(case: Case, arm: str, out: Path) -> pd.DataFrame:
    """Return the figures of one arm, trained now unless they are there already."""
    name = f"{case.name}-{case.seed}-{arm}"
    done = FIGURES / case.suite / f"{name}.csv"
    if not done.exists():
        found = _train(case, arm, (out / case.suite / name).absolute())
        done.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(done, index=False, float_format="%.6g")
    figures = pd.read_csv(done, keep_default_na=False, na_values=[""])
    labels = {"suite": case.suite, "name": case.name, "seed": case.seed, "arm": arm}
    return figures.assign(**labels)


def _train(case: Case, arm: str, place: Path) -> pd.DataFrame:
    place.mkdir(parents=True, exist_ok=True)
    tuned = arm == "tuned"
    top_k = TOP_K if tuned else 1
    began = time.perf_counter()
    for trials in itertools.count(case.trials if tuned else 1, TOP_K):
        file = place / "sweep.yaml"
        file.write_text(yaml.safe_dump(_settings(case, arm, place, trials)))
        loaded = load_sweep(file)
        swept = start_sweep(loaded)
        if swept.reason != "finished":
            raise SystemExit("interrupted; the same command goes on")
        if swept.counts.get("COMPLETE", 0) >= top_k:  # ASHA may have stopped all but two
            break
    swept_at = time.perf_counter()
    request = Request(
        Choice(top_k),
        folds=case.folds if tuned else (0,),
        output=place / "ensembles",
    )
    result = make_ensembles(loaded, request)
    seconds = {"sweep_s": swept_at - began, "ensembles_s": time.perf_counter() - swept_at}
    print(case.name, case.seed, arm, {k: round(s) for k, s in seconds.items()}, flush=True)
    return pd.read_csv(result.folder / "figures.csv").assign(**seconds)


def _settings(case: Case, arm: str, place: Path, trials: int) -> dict[str, Any]:
    settings = copy.deepcopy(DEFAULTS) | dict(case.settings)
    url = f"sqlite:///{place / 'studies.db'}"
    settings["study"] = {"name": f"{case.name}-{arm}".lower(), "storage": url}
    settings["study"]["folder"] = str(place / "study")
    settings["seed"] = case.seed
    settings["num_samples"] = trials
    settings["scheduler"] = {"type": "none", "max_t": case.max_epochs}
    if arm == "features":
        settings["model"] = settings["model"] | {"molecule_features": FEATURES}
    if arm == "tuned":
        settings["search_space"] = SPACE
        settings["enqueue"] = [{**_preset(), "molecule_features": FEATURES}]
        if case.trials == TRIALS:  # of fewer, ASHA lets too few come to their end
            settings["scheduler"] = {
                "type": "asha",
                "max_t": case.max_epochs,
                "grace_period": max(case.max_epochs // 8, 1),
                "reduction_factor": 3,
            }
    return settings


def _preset() -> dict[str, Any]:
    """Return the defaults as a point of the space."""
    return {
        "max_lr": 1e-3,
        "batch_size": 64,
        "depth": 3,
        "message_hidden_dim": 300,
        "aggregation": "norm",
        "num_layers": 1,
        "hidden_dim": 300,
        "dropout": 0.0,
        "ffn_type": "regression",
    }


# ----------------------------------------------------------------------------- tables

FIGURE = {"esol": "rmse", "biogen": "pearson", "expansionrx": "macro_rae"}


def _report(suite: str, figures: pd.DataFrame) -> Iterator[str]:
    """Yield a table of the suite's figure on test rows: mean and spread over seeds."""
    shown = figures[(figures.part == "test") & (figures.figure == FIGURE[suite])]
    shown = shown[shown.units == ("transformed" if suite == "expansionrx" else "original")]
    seeds = shown.groupby(["name", "arm", "ensemble"], sort=False).value
    yield f"\n| data | arm | models | test {FIGURE[suite]} | standard deviation | seeds |"
    yield "|---|---|---|---|---|---|"
    for (name, arm, ensemble), values in seeds:
        spread = f"{values.std():.3f}" if len(values) > 1 else ""
        cells: Sequence[object] = (name, arm, ensemble, f"{values.mean():.3f}", spread, len(values))
        yield "| " + " | ".join(map(str, cells)) + " |"
    cost = figures.drop_duplicates(["name", "seed", "arm"])
    for arm, of_arm in cost.groupby("arm", sort=False):
        sweep, ensembles = of_arm.sweep_s.sum() / 60, of_arm.ensembles_s.sum() / 60
        yield f"{arm}: sweeps {sweep:.0f} min, ensembles {ensembles:.0f} min in all"


if __name__ == "__main__":
    main()
