"""Write down what a registry asks of each predictor: its figures, and how to make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from chemprop_hpo.configs.schema import SweepConfig, Transform
from chemprop_hpo.hpo.chemistry.features.scaling import Scaling
from chemprop_hpo.hpo.chemistry.models.checkpoints import write_atomically
from chemprop_hpo.hpo.chemistry.tables.data import Table
from chemprop_hpo.hpo.chemistry.training.metrics import Yardstick, score, to_original_units
from chemprop_hpo.hpo.ensembles.combining.candidates import Candidate
from chemprop_hpo.hpo.ensembles.combining.judging import Predictions
from chemprop_hpo.hpo.ensembles.members.origin import common_origin
from chemprop_hpo.hpo.ensembles.results.content import Findings
from chemprop_hpo.hpo.ensembles.results.output import TEST
from chemprop_hpo.hpo.ensembles.trained import Trained
from chemprop_hpo.hpo.predictor.manifest import MANIFEST
from chemprop_hpo.storage.member_records import MemberRecord

__all__ = ["RECORDS", "code_of", "hyperparameters", "predictor_record", "write_records"]

RECORDS = "records.json"
"""Beside the predictors' folders; a record each, by the folder's name."""

SURELY = 1e-7
"""Probabilities nearer to 0 or 1 than this have no finite logit in single precision."""

_OF_MEMBERS = ("train_rmse", "train_nrmse", "train_loss", "generalisation_gap")
_NOT_TRAINED_ON = ("test_file", "blind_file")

Float64 = NDArray[np.float64]


def predictor_record(
    config: SweepConfig,
    findings: Findings,
    candidate: Candidate,
    data: Mapping[str, Mapping[str, Any]],
    trained: Sequence[Trained],
) -> dict[str, Any]:
    """Return what must be known of a predictor when it is decided upon, ready for strict JSON.

    ``metrics`` has the names of `chemprop_hpo.hpo.chemistry.training.metrics.score`. The ``val_``
    figures of a single model are those of its training; those of an ensemble come from its
    out-of-fold predictions, and its training figures and gap are the means of its members'.
    ``test_`` figures are there where test rows were scored.

    Parameters
    ----------
    config : SweepConfig
    findings : Findings
    candidate : Candidate
        One of the findings'.
    data : mapping
        Fingerprints of all files, by name.
    trained : sequence of Trained
        All members.
    """
    models = [one for one in trained if one.key in candidate.shares]
    members = [record for rank, record in findings.members if _is_of(candidate, rank, record)]
    metrics = _metrics(config, findings, candidate, members)
    return {
        "kind": "model" if len(members) == 1 else "ensemble",
        "task": config.task,
        "targets": _targets(config, findings, candidate, metrics),
        "metrics": metrics,
        "completed": all(record.state == "complete" for record in members),
        "provenance": {
            **_provenance(config, findings, members, data),
            **code_of(models),
        },
        "test_set": None if findings.test is None else _test_set(config, findings.test.table),
    }


def hyperparameters(config: SweepConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a training with a trial's parameters is given, searched or not."""
    own = config.with_params(dict(params))
    ignored = {"num_workers", "progress_bar", "seed"}
    given = own.model.model_dump(mode="json")
    return given | own.optimization.model_dump(mode="json", exclude=ignored)


def code_of(trained: Iterable[Trained]) -> dict[str, Any]:
    """Return ``git_commit`` and ``dirty`` of the code that all of these were trained on.

    What they do not share, or what is not known of one of them, is None.
    """
    origin = common_origin(one.file.parent for one in trained)
    return {"git_commit": origin.commit, "dirty": origin.dirty}


def write_records(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the records of predictors whose folders lie in ``folder``, whole or not at all.

    Each is bound to its predictor by the sha256 of that one's manifest, and to what was said of
    test rows by that of the table.
    """
    said = _sha256(folder / TEST)
    bound = {
        name: {**one, "manifest": _sha256(folder / name / MANIFEST), "said": said}
        for name, one in records.items()
    }
    text = json.dumps(bound, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / RECORDS, text.encode())


# ----------------------------------------------------------------------------- figures


def _metrics(
    config: SweepConfig,
    findings: Findings,
    candidate: Candidate,
    members: Sequence[MemberRecord],
) -> dict[str, float]:
    labels = findings.held_out.rows.targets
    yardstick = _yardstick(config, _training_labels(findings, candidate))
    if len(members) == 1:
        metrics = dict(members[0].metrics)
    else:
        metrics = _scored(yardstick, candidate.out_of_fold, labels, "val") | _means(members)
        if "val_rmse" in metrics:
            metrics["best_val_rmse"] = metrics["val_rmse"]
    if findings.test is not None:
        said, there = candidate.say(findings.test.outputs), findings.test.table.targets
        metrics |= _scored(yardstick, said, there, "test")
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _scored(
    yardstick: Yardstick, said: Predictions, labels: Float64, part: str
) -> dict[str, float]:
    # A row that no member was kept from, or that cannot be predicted, is not judged.
    judged = np.where(np.isfinite(said.mean), labels, np.nan)
    outputs = said.mean
    if yardstick.task == "classification":
        outputs = logit(np.clip(said.mean, SURELY, 1 - SURELY))
    return score(yardstick, outputs, judged, part)


def _yardstick(config: SweepConfig, labels: Float64) -> Yardstick:
    data = config.data
    return Yardstick(
        config.task,
        config.optimization.criterion,
        data.target_cols,
        data.transforms,
        data.weights,
        Scaling.of(labels),
    )


def _means(members: Sequence[MemberRecord]) -> dict[str, float]:
    """Return the mean of each figure that all members have."""
    found: dict[str, float] = {}
    for name in _OF_MEMBERS:
        values = [record.metrics[name] for record in members if name in record.metrics]
        if values and len(values) == len(members):
            found[name] = float(np.mean(values))
    return found


# ----------------------------------------------------------------------------- origin


def _targets(
    config: SweepConfig,
    findings: Findings,
    candidate: Candidate,
    metrics: Mapping[str, float],
) -> list[dict[str, Any]]:
    data, labels = config.data, _training_labels(findings, candidate)
    alone = len(data.target_cols) == 1
    figure = "test_roc_auc" if config.task == "classification" else "test_rmse"
    return [
        {
            "name": name,
            "transform": transform,
            "label_std": _label_std(labels[:, t], transform if alone else "none", config.task),
            # Test labels of one class only define no figure.
            "tested": f"{figure}/{name}" in metrics,
        }
        for t, (name, transform) in enumerate(zip(data.target_cols, data.transforms, strict=True))
    ]


def _training_labels(findings: Findings, candidate: Candidate) -> Float64:
    """Return the labels that a single model was trained on, or those of all rows."""
    held_out = findings.held_out
    if len(candidate.shares) > 1:
        return held_out.rows.targets
    (_, split, fold) = next(iter(candidate.shares))
    trained_on: Float64 = held_out.rows.targets[held_out.folds[split] != fold]
    return trained_on


def _label_std(labels: Float64, undone: Transform, task: str) -> float | None:
    if task == "classification":
        return None
    return float(np.nanstd(to_original_units(labels, undone)))


def _provenance(
    config: SweepConfig,
    findings: Findings,
    members: Sequence[MemberRecord],
    data: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    trials = {record.key.trial for record in members}
    params = {
        str(d.trial.number): hyperparameters(config, d.trial.params)
        for d in findings.decisions
        if d.taken and d.trial.number in trials
    }
    trained_on = {n: file["sha256"] for n, file in data.items() if n not in _NOT_TRAINED_ON}
    return {
        "study": config.study_name,
        "seed": members[0].seed if len(members) == 1 else config.seed,
        "hyperparameters": next(iter(params.values())) if len(params) == 1 else params,
        "trials": sorted(trials),
        "dataset": _digest(json.dumps(trained_on, sort_keys=True)),
    }


def _test_set(config: SweepConfig, table: Table) -> str:
    """Return a sha256 of molecules and original labels, in whatever order rows and targets are."""
    data = config.data
    columns = {
        name: to_original_units(labels, transform)
        for name, transform, labels in zip(
            data.target_cols, data.transforms, table.targets.T, strict=True
        )
    }
    labels = np.stack([columns[name] for name in sorted(columns)], axis=1)
    rows = zip(table.canonical, labels, strict=True)
    lines = sorted(f"{name} {' '.join(f'{y:.6g}' for y in row)}" for name, row in rows)
    return _digest(*sorted(columns), *lines)


def _is_of(candidate: Candidate, rank: int, record: MemberRecord) -> bool:
    return (rank, record.key.split, record.key.fold) in candidate.shares


def _digest(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
