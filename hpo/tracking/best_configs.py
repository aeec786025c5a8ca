"""Write a study's best trials as a configuration that ``sweep`` takes as it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from chemprop_hpo.configs.load import dump_stored
from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.configs.secrets import has_masked
from chemprop_hpo.storage.records import StudyRecord
from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["top_metrics", "winners_yaml"]


def winners_yaml(name: str, record: StudyRecord, best: Sequence[TrialRecord]) -> str:
    """Return a sweep's file that trains exactly these configurations, each to its end.

    Parameters
    ----------
    name : str
        Of the study that they come from.
    record : StudyRecord
        What it says about itself.
    best : sequence of TrialRecord
        Best first. One becomes the base configuration, several are listed under ``enqueue``.
    """
    config = copy.deepcopy(dict(record.config))
    _rename(config, name, f"-top{len(best)}")
    _train_each_to_its_end(config, len(best))
    if len(best) == 1:
        _make_base(config, best[0].params)
    else:
        config["base"] = False
        config["enqueue"] = [dict(trial.params) for trial in best]
    header = "".join(f"# {line}\n" for line in _header(name, record, best))
    return header + dump_stored(_written(config))


def top_metrics(metric: str, best: Sequence[TrialRecord]) -> dict[str, float]:
    """Return ``top_<i>_<metric>`` and ``top_<i>_val_loss`` of the best trials, i from 1.

    Where the study has another metric, ``val_loss`` is the trial's own, at its best epoch; it
    is absent where the trial has none.

    Parameters
    ----------
    metric : str
        The study's.
    best : sequence of TrialRecord
        Best first.
    """
    found: dict[str, float | None] = {}
    for i, trial in enumerate(best, start=1):
        found[f"top_{i}_val_loss"] = trial.metrics.get("val_loss")
        found[f"top_{i}_{metric}"] = trial.value
    return {name: x for name, x in found.items() if x is not None and math.isfinite(x)}


def _written(value: Any) -> Any:
    """Return a mapping without its empty entries, which are defaults."""
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items() if item is not None}
    return value


def _rename(config: dict[str, Any], name: str, suffix: str) -> None:
    study = config.setdefault("study", {})
    study["name"] = name + suffix
    if study.get("folder"):
        study["folder"] = f"{study['folder']}{suffix}"
    if has_masked(str(study.get("storage", ""))):
        # A password that is not there cannot be used; the header says how to give it.
        del study["storage"]


def _train_each_to_its_end(config: dict[str, Any], count: int) -> None:
    config["num_samples"] = count
    config["time_budget_s"] = None
    config.setdefault("scheduler", {})["type"] = "none"
    config.setdefault("transfer_learning", {})["enabled"] = False
    config.setdefault("sampler", {})["type"] = "random"


def _make_base(config: dict[str, Any], params: Mapping[str, Any]) -> None:
    for section, fields in {
        "model": ModelConfig.model_fields,
        "optimization": OptimizationConfig.model_fields,
    }.items():
        chosen = {name: value for name, value in params.items() if name in fields}
        config[section] = {**(config.get(section) or {}), **chosen}
    config.update(base=True, enqueue=[], search_space={})


def _header(name: str, record: StudyRecord, best: Sequence[TrialRecord]) -> list[str]:
    count = "The best configuration" if len(best) == 1 else f"The {len(best)} best configurations"
    lines = [f"{count} of study {name} by {record.metric} ({record.mode}):"]
    lines += [f"  trial {t.number}: {record.metric} = {t.value:.6g}" for t in best]
    place = str(record.config.get("study", {}).get("storage", ""))
    if has_masked(place):
        lines.append(f"That study is in {place}; name the place of this one with --storage.")
    if len(best) == 1 and record.metric == "val_loss" and "criterion" in best[0].params:
        lines.append("val_loss is measured with this file's criterion; that study used its own.")
    return [*lines, "Run it with: chemprop-hpo sweep THIS_FILE"]
