"""Write a study's best trials as a configuration that ``sweep`` takes as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chemprop_hpo.configs.load import dump_stored
from chemprop_hpo.configs.schema import ModelConfig, OptimizationConfig
from chemprop_hpo.configs.secrets import has_masked

if TYPE_CHECKING:
    from chemprop_hpo.hpo.commands.opening import OpenStudy
    from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["winners_yaml"]


def winners_yaml(opened: OpenStudy, best: Sequence[TrialRecord]) -> str:
    """Return a sweep's file that trains exactly these configurations, each to its end.

    Parameters
    ----------
    opened : OpenStudy
        The study that they come from.
    best : sequence of TrialRecord
        Best first. One becomes the base configuration, several are listed under ``enqueue``.
    """
    config = copy.deepcopy(dict(opened.record.config))
    _rename(config, opened.name, f"-top{len(best)}")
    _train_each_to_its_end(config, len(best))
    if len(best) == 1:
        _make_base(config, best[0].params)
    else:
        config["base"] = False
        config["enqueue"] = [dict(trial.params) for trial in best]
    return "".join(f"# {line}\n" for line in _header(opened, best)) + dump_stored(_written(config))


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


def _header(opened: OpenStudy, best: Sequence[TrialRecord]) -> list[str]:
    record = opened.record
    count = "The best configuration" if len(best) == 1 else f"The {len(best)} best configurations"
    lines = [f"{count} of study {opened.name} by {record.metric} ({record.mode}):"]
    lines += [f"  trial {t.number}: {record.metric} = {t.value:.6g}" for t in best]
    place = str(record.config.get("study", {}).get("storage", ""))
    if has_masked(place):
        lines.append(f"That study is in {place}; name the place of this one with --storage.")
    if len(best) == 1 and record.metric == "val_loss" and "criterion" in best[0].params:
        lines.append("val_loss is measured with this file's criterion; that study used its own.")
    return [*lines, "Run it with: chemprop-hpo sweep THIS_FILE"]
