"""Register a predictor as the one candidate, if its figures allow it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import DataError, UsageError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.predictor.loading import load_manifest
from chemprop_hpo.hpo.promotion.decision import Decision
from chemprop_hpo.hpo.promotion.eligibility import eligible
from chemprop_hpo.hpo.promotion.failed import WEIGHTS_TAG, failed_before
from chemprop_hpo.hpo.promotion.registered.model_run import ModelRun, finished_run, log_verdict
from chemprop_hpo.hpo.promotion.registered.packing import pack
from chemprop_hpo.hpo.promotion.registered.record_files import (
    RECORD,
    from_json,
    mark_of,
    read_record,
    weights_of,
)
from chemprop_hpo.hpo.promotion.registered.registry import (
    CANDIDATE,
    CHAMPION,
    MODEL,
    Registry,
    Version,
)
from chemprop_hpo.hpo.promotion.registered.test_rows import SAID, said_by
from chemprop_hpo.hpo.promotion.settling import refuse_moved_by_hand, settle
from chemprop_hpo.hpo.tracking.server import experiment_id
from chemprop_hpo.storage.ledger import Intent, Ledger, Reconciled

__all__ = ["Candidate", "check_registry", "register_candidate"]

TAG = "chemprop_hpo"
PREDICTOR_TAG = f"{TAG}.predictor"
"""Of a version: what tells its model from any other."""


@dataclass(frozen=True)
class Candidate:
    """What became of a predictor.

    Attributes
    ----------
    decision : Decision
        Whether it may be registered.
    run_id : str
        The run that it was logged in, also where it may not.
    version : str or None
        None where it may not be registered.
    replaced : str or None
        The version that was the candidate before.
    is_new : bool
        Whether it was registered now, and not before.
    is_champion : bool
        Whether it is the champion already; then no alias was moved.
    """

    decision: Decision
    run_id: str
    version: str | None = None
    replaced: str | None = None
    is_new: bool = True
    is_champion: bool = False


def check_registry(
    registry: Registry, ledger: Ledger, config: SweepConfig
) -> tuple[Reconciled, ...]:
    """Refuse what registering would refuse, so that it is known before a model is trained.

    What a killed process left half done is settled, and returned.

    Raises
    ------
    PromotionConflictError
        If a hand has moved an alias.
    TrackingError, StorageError
        If the registry, the experiment or the ledger cannot be used.
    """
    settled = settle(registry, ledger)
    refuse_moved_by_hand(settled)
    with registry.clear_errors():
        experiment_id(registry.client, config.mlflow)
    return settled


def register_candidate(
    registry: Registry, ledger: Ledger, config: SweepConfig, predictor: Path
) -> Candidate:
    """Log a predictor as a run of its own, and register it as the candidate if it is eligible.

    A predictor that was registered before keeps its version. One whose weights were rolled back
    is not registered, whatever commit they were trained on.

    Parameters
    ----------
    registry : Registry
    ledger : Ledger
        Every alias is moved through it.
    config : SweepConfig
    predictor : Path
        A folder that ``chemprop-hpo ensembles`` wrote, ``combined`` or ``rank_<i>``.

    Raises
    ------
    PredictorError, DataError
        If the folder is no predictor, or nothing is known of its figures.
    TrackingError, StorageError
        If the registry or the ledger cannot be used.
    PromotionConflictError
        If another moved the alias at the same time, or a hand did so before.
    """
    record = read_record(predictor)
    _refuse_other_study(predictor, config)
    check_registry(registry, ledger, config)
    mark, weights, aliases = mark_of(predictor, record), weights_of(predictor), registry.aliases()
    known = _registered(registry, mark)
    decision = eligible(from_json(record, str(predictor)), config.promotion)
    if failed := failed_before(registry, None if known is None else known.number, weights):
        decision = replace(decision, rules=(*decision.rules, failed))
    if known is not None:
        run_id, version = known.run_id or "", known.number
    else:
        run_id = _log_run(registry, config, predictor, record, decision, mark)
    if not decision.allowed:
        return Candidate(decision, run_id)
    if known is None:
        tags = {PREDICTOR_TAG: mark, WEIGHTS_TAG: weights, f"{TAG}.study": config.study_name}
        version = registry.add_version(run_id, tags | {f"{TAG}.kind": record["kind"]})
    elif version == aliases.get(CHAMPION):
        return Candidate(decision, run_id, version, is_new=False, is_champion=True)
    before = aliases.get(CANDIDATE)
    if version == before:
        return Candidate(decision, run_id, version, is_new=known is None)
    what = f"{record['kind']} of study {config.study_name}"
    _point_to(registry, ledger, version, before, what, decision)
    return Candidate(decision, run_id, version, before, known is None)


def _registered(registry: Registry, mark: str) -> Version | None:
    return next((v for v in registry.versions() if v.tags.get(PREDICTOR_TAG) == mark), None)


def _point_to(
    registry: Registry,
    ledger: Ledger,
    version: str,
    before: str | None,
    what: str,
    decision: Decision,
) -> None:
    intent = Intent(
        model=registry.model,
        alias=CANDIDATE,
        expected=before,
        version=version,
        kind="candidate",
        reason=what,
        decision=decision.as_dict(),
    )
    ledger.move(intent, read=registry.alias, write=registry.set_alias)


def _log_run(
    registry: Registry,
    config: SweepConfig,
    predictor: Path,
    record: Mapping[str, Any],
    decision: Decision,
    mark: str,
) -> str:
    if before := finished_run(registry, config, {PREDICTOR_TAG: mark}):
        log_verdict(registry, before, decision)
        return before
    origin = record["provenance"]
    with tempfile.TemporaryDirectory(prefix="chemprop-hpo-candidate-") as place:
        folder = Path(place)
        with registry.clear_errors():
            pack(predictor, folder / MODEL)
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if record["test_set"] is not None:
            _said(predictor, record).to_csv(folder / SAID, index=False)
        with ModelRun(
            registry, config, f"candidate of {config.study_name}", {PREDICTOR_TAG: mark}
        ) as run:
            run.log(
                params={**_flat(origin.get("hyperparameters") or {}), "seed": origin.get("seed")},
                metrics=record["metrics"],
                tags={f"{TAG}.kind": "candidate"},
            )
            run.log_folder(folder)
            log_verdict(registry, run.run_id, decision)
    return run.run_id


def _refuse_other_study(predictor: Path, config: SweepConfig) -> None:
    made_of = load_manifest(predictor).study
    if made_of != config.study_name:
        raise UsageError(
            f"{predictor}: was made of study '{made_of}', not of '{config.study_name}'; name its "
            f"own with: --study {made_of}"
        )


def _said(predictor: Path, record: Mapping[str, Any]) -> Any:
    table = predictor.parent / SAID
    if table.exists() and hashlib.sha256(table.read_bytes()).hexdigest() != record["said"]:
        raise DataError(
            f"{table}: is not the table that the record speaks of; write it anew with: "
            "chemprop-hpo ensembles"
        )
    targets = [target["name"] for target in record["targets"]]
    return said_by(predictor, load_manifest(predictor).smiles_col, targets)


def _flat(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of one configuration, or of several by their trials."""
    if not any(isinstance(value, Mapping) for value in hyperparameters.values()):
        return dict(hyperparameters)
    return {
        f"trial_{trial}.{name}": value
        for trial, params in hyperparameters.items()
        for name, value in params.items()
    }
