"""A study as a sweep leaves it, made without a sweep."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import StudyRecord, open_or_create_study

SWEEP_YAML = """\
data: {file: esol.csv, target_cols: [logS]}
num_samples: 12
scheduler: {max_t: 30, grace_period: 5}
search_space:
  depth: {type: randint, low: 2, high: 6}
  max_lr: {type: loguniform, low: 1.0e-4, high: 1.0e-2}
  ffn_type: {type: choice, choices: [regression, branched]}
  trunk_n_layers: {type: randint, low: 1, high: 3, condition: "ffn_type == 'branched'"}
"""
TABLE = "smiles,logS\nCCO,1.1\n"
DISTRIBUTIONS = {
    "depth": IntDistribution(2, 6),
    "max_lr": FloatDistribution(1e-4, 1e-2, log=True),
    "ffn_type": CategoricalDistribution(["regression", "branched"]),
    "trunk_n_layers": IntDistribution(1, 3),
}
PLAIN = {"depth": 3, "max_lr": 0.0012345678901234567, "ffn_type": "regression"}
BRANCHED = {"depth": 5, "max_lr": 0.004, "ffn_type": "branched", "trunk_n_layers": 2}


def finished(params: dict[str, Any], value: float, **attributes: Any) -> Any:
    return create_trial(
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        value=value,
        user_attrs={
            "head": params["ffn_type"],
            "stop_reason": "max_t",
            "epochs": 30,
            "best_epoch": 24,
            "seed": 7,
            "metrics": {"val_rmse": 0.7, "val_r2": 0.81, "generalisation_gap": 0.1},
            **attributes,
        },
    )


def ended(
    params: dict[str, Any], state: TrialState, reason: str, epochs: int, **attributes: Any
) -> Any:
    return create_trial(
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        state=state,
        intermediate_values=dict.fromkeys(range(1, epochs + 1), 0.9),
        user_attrs={
            "head": "regression",
            "stop_reason": reason,
            "epochs": epochs,
            **attributes,
        },
    )


def make_study(name: str, sweep_file: Path, url: str = "sqlite:///studies.db") -> None:
    """Make a study of the table beside the file, with three complete trials of six."""
    stored = load_sweep(
        sweep_file, [f"study.name={json.dumps(name)}", f"study.storage={url}"]
    ).stored
    record = StudyRecord(
        config=stored,
        metric="val_loss",
        mode="min",
        space=stored["search_space"],
        space_hash="0",
        data={"file": fingerprint(sweep_file.with_name("esol.csv"))},
        seed=0,
        folder=f"studies/{name}",
    )
    with open_database(url) as database:
        study, _ = open_or_create_study(database, name, record)
        study.add_trial(finished(PLAIN, 0.5))
        study.add_trial(finished(BRANCHED, 0.3))
        study.add_trial(ended(PLAIN, TrialState.PRUNED, "asha", 5))
        study.add_trial(ended(PLAIN, TrialState.FAIL, "nan", 2))
        study.add_trial(ended(PLAIN, TrialState.FAIL, "interrupted", 4, continued_by=5))
        study.add_trial(finished(BRANCHED, 0.4, seed=8))


def fingerprint(table: Path) -> dict[str, Any]:
    rows = len(table.read_text().splitlines()) - 1
    sha = hashlib.sha256(table.read_bytes()).hexdigest()
    return {"sha256": sha, "rows": rows, "path": str(table.absolute())}
