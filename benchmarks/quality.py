"""How good are the predictions: sweeps and ensembles on public data, held against known figures.

    python benchmarks/quality.py --data DATA --out OUT [--only esol biogen expansionrx]
        [--arms tuned defaults features]

``DATA`` holds ``esol/delaney-processed.csv``, ``biogen_adme/{HLM,RLM,Sol}_{train,test}.csv`` and
``expansionrx/expansion_data_train.csv``. Each study is kept in ``OUT``: a run that was ended goes
on where it was. An ESOL split's tuned arm took 20 to 40 minutes on two CPU cores that did other
work as well; all of it takes hours. What was measured lies in ``benchmarks/figures``, a file a
study, and is not measured again while it lies there. The last lines are tables in Markdown.

Every data set has three arms. ``defaults`` are Chemprop's own hyperparameters, ``features`` the
same with RDKit descriptors beside the graph, ``tuned`` the best of a short sweep that begins with
these two. Of ``tuned`` there are one model of the best configuration, the ensemble of its folds,
and the combination of all configurations; of the other two the model of the same fold.

ESOL: five random splits, each with a sweep of its own and the best three configurations on all
eight folds. Biogen: one sweep an endpoint, the best three (of Solubility the best five that are
apart, too), three runs of two folds each, which share no fold and no seed, and one of all six
folds; of Solubility also three of four of these folds, which overlap. ExpansionRx: one sweep, the
best three, two folds.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.configurations.choosing import Choice
from chemprop_hpo.hpo.ensembles.plan import Request
from chemprop_hpo.hpo.ensembles.run import make_ensembles
from chemprop_hpo.hpo.sweep import start_sweep
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.member_records import read_members
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.trials import trial_records

FIGURES = Path(__file__).parent / "figures"
FEATURES = "v1_rdkit_2d_normalized"
TRIALS = 10
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
    """One data set with one split and seed; ``runs`` are the folds of each ensemble, or all."""

    suite: str
    name: str
    settings: Mapping[str, Any]
    max_epochs: int
    seed: int = 0
    trials: int = TRIALS
    choices: tuple[Choice, ...] = field(default_factory=lambda: (Choice(3),))
    runs: tuple[tuple[int, ...] | None, ...] = (None,)


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
    """Yield three endpoints with the published split: three runs of two folds, and all of these."""
    folder = data / "biogen_adme"
    runs = ((0, 1), (2, 3), (4, 5), (0, 1, 2, 3, 4, 5))
    choices = {"Sol": (Choice(3), Choice(5, "diverse"))}
    more = {"Sol": ((0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 0, 1))}
    for name in ("HLM", "RLM", "Sol"):
        table = {
            "file": str(folder / f"{name}_train.csv"),
            "test_file": str(folder / f"{name}_test.csv"),
            "target_cols": ["activity"],
        }
        settings = {"data": table, "split": {"n_folds": 8}}
        taken = choices.get(name, (Choice(3),))
        folds = (*runs, *more.get(name, ()))
        yield Case("biogen", name, settings, 50, trials=6, choices=taken, runs=folds)


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
    yield Case("expansionrx", "ExpansionRx", settings, 30, trials=6, runs=((0, 1),))


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
    choices, runs = (case.choices, case.runs) if tuned else ((Choice(1),), ((0,),))
    most = max(choice.top_k for choice in choices)
    for trials in itertools.count(case.trials if tuned else 1, most):
        file = place / "sweep.yaml"
        file.write_text(yaml.safe_dump(_settings(case, arm, place, trials)))
        loaded = load_sweep(file)
        swept = start_sweep(loaded)
        if swept.reason != "finished":
            raise SystemExit("interrupted; the same command goes on")
        if swept.counts.get("COMPLETE", 0) >= most:  # ASHA may have stopped all but two
            break
    made = []
    for choice, (run, folds) in itertools.product(choices, enumerate(runs)):
        output = place / f"ensembles_{choice.top_k}_{run}"
        result = make_ensembles(loaded, Request(choice, folds=folds, output=output))
        figures = pd.read_csv(result.folder / "figures.csv")
        n_folds = len(folds) if folds else loaded.config.split.n_folds
        made.append(figures.assign(configurations=choice.top_k, run=run, folds=n_folds))
    minutes = _worker_minutes(loaded.config)
    print(case.name, case.seed, arm, minutes, flush=True)
    return pd.concat(made).assign(**minutes)


def _worker_minutes(config: SweepConfig) -> dict[str, float]:
    """Return how long workers of one CPU were busy with trials, and with members of ensembles."""
    with open_database(config.study.storage, create=False) as db:
        study = open_study(db, config.study_name)
        parts = {"sweep_min": trial_records(study), "members_min": read_members(db, study)}
    return {
        part: round(sum((one.ended - one.started).total_seconds() / 60 for one in of_part), 1)
        for part, of_part in parts.items()
    }


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
    by = ["name", "arm", "configurations", "folds", "ensemble"]
    runs = shown.groupby(by, sort=False, dropna=False).value
    yield (
        "\n| data | arm | configurations | folds | models | "
        f"test {FIGURE[suite]} | deviation | runs |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for named, values in runs:
        spread = f"{values.std():.3f}" if len(values) > 1 else ""
        cells: Sequence[object] = (*named, f"{values.mean():.3f}", spread, len(values))
        yield "| " + " | ".join(map(str, cells)) + " |"
    cost = figures.drop_duplicates(["name", "seed", "arm"])
    for arm, of_arm in cost.groupby("arm", sort=False):
        sweep, members = of_arm.sweep_min.sum(), of_arm.members_min.sum()
        yield f"{arm}: sweeps {sweep:.0f} min, ensembles {members:.0f} min of one CPU in all"


if __name__ == "__main__":
    main()
