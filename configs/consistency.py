"""Rules between keys: what the parts of a sweep demand of each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from chemprop_hpo.configs.draft import Draft
from chemprop_hpo.configs.problems import Loc, Problem, shown, suggestion
from chemprop_hpo.configs.schema import DataConfig, OptimizationConfig, SplitConfig
from chemprop_hpo.configs.yardstick import Mode, reported_metrics

__all__ = ["find_inconsistencies"]

_FILE: Loc = ("data", "file")
_FOLDER: Loc = ("data", "data_dir")
_TARGETS: Loc = ("data", "target_cols")
_MAX_T: Loc = ("scheduler", "max_t")
_MAX_EPOCHS: Loc = ("optimization", "max_epochs")
_SEED: Loc = ("optimization", "seed")
_LR: Loc = ("optimization", "lr")


def find_inconsistencies(draft: Draft) -> Iterator[Problem]:
    """Yield each rule between keys that is broken; rules about broken keys are left out."""
    yield from _source_of_data(draft)
    yield from _split(draft)
    yield from _targets(draft)
    yield from _per_target(draft)
    yield from _epochs(draft)
    yield from _rungs(draft)
    yield from _seeds(draft)
    yield from _metric(draft)
    yield from _classification(draft)
    yield from _learning_rate(draft)
    yield from _ensemble_parts(draft)


# --------------------------------------------------------------------------- data


def _source_of_data(draft: Draft) -> Iterator[Problem]:
    data = draft.config.data
    if not draft.sound(_FILE, _FOLDER):
        return
    if data.file is None and data.data_dir is None:
        yield Problem(
            ("data",),
            "needs data_dir, a folder with train.csv and validation.csv, or file, one CSV",
        )
    if data.file is not None and data.data_dir is not None:
        yield Problem(_FILE, "and data.data_dir exclude each other; keep one", (_FOLDER,))


def _split(draft: Draft) -> Iterator[Problem]:
    split, data = draft.config.split, draft.config.data
    if split is None or not draft.sound(("split",)):
        return
    if data.data_dir is not None and data.file is None and draft.sound(_FOLDER):
        text = "is only for data.file; the parts in data.data_dir are already made"
        yield Problem(("split",), text, (_FOLDER,))
    yield from _split_column(split)
    yield from _split_shares(split)


def _split_column(split: SplitConfig) -> Iterator[Problem]:
    if split.method == "column" and split.column is None:
        yield Problem(("split", "method"), "column needs split.column, the column to read")
    if split.method != "column" and split.column is not None:
        text = f"is read only with split.method: column, not {split.method}"
        yield Problem(("split", "column"), text, (("split", "method"),))


def _split_shares(split: SplitConfig) -> Iterator[Problem]:
    share: Loc = ("split", "val_fraction")
    if split.val_fraction is None:
        return
    if split.n_folds is not None:
        text = "and split.n_folds exclude each other; keep one"
        yield Problem(share, text, (("split", "n_folds"),))
    elif split.val_fraction + split.test_fraction >= 1:
        total = f"{split.val_fraction:g} + {split.test_fraction:g}"
        text = f"and split.test_fraction leave nothing to train on ({total})"
        yield Problem(share, text, (("split", "test_fraction"),))


def _targets(draft: Draft) -> Iterator[Problem]:
    data = draft.config.data
    if not draft.sound(_TARGETS):
        return
    for index, target in enumerate(data.target_cols):
        if target in data.target_cols[:index]:
            yield Problem((*_TARGETS, index), f"names {target!r} twice")
        if target == data.smiles_col and draft.sound(("data", "smiles_col")):
            text = f"is {target!r}, the column of the SMILES"
            yield Problem((*_TARGETS, index), text, (("data", "smiles_col"),))


def _per_target(draft: Draft) -> Iterator[Problem]:
    data = draft.config.data
    weights: Loc = ("data", "target_weights")
    if data.target_weights is not None and draft.sound(_TARGETS, weights):
        yield from _length(weights, len(data.target_weights), data)
    yield from _named_or_listed(draft, ("data", "target_transforms"), data.target_transforms)
    yield from _named_or_listed(draft, ("data", "target_units"), data.target_units)


def _named_or_listed(
    draft: Draft, loc: Loc, given: tuple[str, ...] | Mapping[str, str] | None
) -> Iterator[Problem]:
    data = draft.config.data
    if not draft.sound(_TARGETS, loc):
        return
    if isinstance(given, tuple):
        yield from _length(loc, len(given), data)
    for target in given if isinstance(given, Mapping) else ():
        if target not in data.target_cols:
            near = suggestion(target, data.target_cols)
            yield Problem((*loc, target), f"is not in data.target_cols{near}", (_TARGETS,))


def _length(loc: Loc, given: int, data: DataConfig) -> Iterator[Problem]:
    wanted = len(data.target_cols)
    if given != wanted:
        text = f"has {given} values for {wanted} target_cols; write one for each"
        yield Problem(loc, text, (_TARGETS,))


# --------------------------------------------------------------------------- epochs and seeds


def _epochs(draft: Draft) -> Iterator[Problem]:
    max_t, max_epochs = draft.config.scheduler.max_t, draft.config.optimization.max_epochs
    if max_t is None or max_epochs is None or not draft.sound(_MAX_T, _MAX_EPOCHS):
        return
    if max_t != max_epochs:
        text = f"is {max_t} but optimization.max_epochs is {max_epochs}; make them equal"
        yield Problem(_MAX_T, text, (_MAX_EPOCHS,))


def _rungs(draft: Draft) -> Iterator[Problem]:
    scheduler, max_t = draft.config.scheduler, draft.config.max_epochs
    about = (_MAX_EPOCHS if scheduler.max_t is None else _MAX_T,)
    if scheduler.type != "asha" or not draft.sound(("scheduler",), _MAX_EPOCHS):
        return
    if scheduler.grace_period > max_t:
        text = f"is {scheduler.grace_period}, more than the {max_t} epochs of a trial; lower it"
        yield Problem(("scheduler", "grace_period"), text, about)
        return
    most = 1 + _whole_log(max_t / scheduler.grace_period, scheduler.reduction_factor)
    if scheduler.brackets > most:
        text = f"is {scheduler.brackets}; up to {max_t} epochs there are rungs for {most}"
        yield Problem(("scheduler", "brackets"), text, about)


def _whole_log(value: float, base: float) -> int:
    return math.floor(math.log(value) / math.log(base) + 1e-9)


def _seeds(draft: Draft) -> Iterator[Problem]:
    config, own = draft.config, draft.config.optimization.seed
    if own is None or "seed" not in config.model_fields_set or not draft.sound(_SEED, ("seed",)):
        return
    if own != config.seed:
        text = f"is {own} but seed is {config.seed}; leave out optimization.seed"
        yield Problem(_SEED, text, (("seed",),))


# --------------------------------------------------------------------------- metric and task


def _metric(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    if not draft.sound(("metric",), ("task",), _TARGETS):
        return
    known = reported_metrics(config.task, config.data.target_cols)
    if config.metric not in known:
        overall = [name for name in known if "/" not in name]
        near = suggestion(config.metric, known if "/" in config.metric else overall)
        text = f"is {shown(config.metric)}, which this {config.task} does not report{near}"
        yield Problem(("metric",), _several_targets(text, config.metric, known))
        return
    right = known[config.metric]
    if config.mode != right and "mode" in config.model_fields_set and draft.sound(("mode",)):
        better = "higher" if right == "max" else "lower"
        text = f"is {config.mode}, but a {better} {config.metric} is better; write mode: {right}"
        yield Problem(("mode",), text, (("metric",),))


def _several_targets(text: str, metric: str, known: Mapping[str, Mode]) -> str:
    single = next((name for name in known if name.startswith(f"{metric}/")), None)
    if single is None:
        return text
    start = text.split(";")[0]
    return f"{start} for several targets; write val_nrmse, or one target's {single}"


def _classification(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    if config.task != "classification" or not draft.sound(("task",)):
        return
    transforms: Loc = ("data", "target_transforms")
    if draft.sound(_TARGETS, transforms) and set(config.data.transforms) != {"none"}:
        yield Problem(transforms, "is for regression; labels 0 and 1 have none", (("task",),))
    text = "is for regression; a classification is trained on binary cross-entropy"
    if "criterion" in draft.declared:
        yield Problem(("search_space", "criterion"), text, (("task",),))
    default = OptimizationConfig.model_fields["criterion"].default
    if config.optimization.criterion != default:
        yield Problem(("optimization", "criterion"), text, (("task",),))


# --------------------------------------------------------------------------- training


def _learning_rate(draft: Draft) -> Iterator[Problem]:
    """Say what one constant rate excludes, in the base and in the space."""
    optimization, names = draft.config.optimization, draft.declared
    rates = ("init_lr", "max_lr", "final_lr", "init_lr_ratio", "final_lr_ratio")
    searched = [f"search_space.{name}" for name in rates if name in names]
    if "lr" in names and searched:
        yield Problem(("search_space", "lr"), _excludes(searched))
    if optimization.lr is not None and draft.sound(("optimization",)):
        changed = [
            f"optimization.{name}"
            for name in rates
            if getattr(optimization, name) != OptimizationConfig.model_fields[name].default
        ]
        excluded = changed + ([] if "lr" in names else searched)
        if excluded:
            yield Problem(_LR, _excludes(excluded))
    yield from _rate_or_ratio(draft)


def _excludes(names: list[str]) -> str:
    return f"is one constant learning rate and excludes {', '.join(names)}"


def _rate_or_ratio(draft: Draft) -> Iterator[Problem]:
    for rate in ("init_lr", "final_lr"):
        ratio = f"{rate}_ratio"
        if rate not in draft.declared:
            continue
        if ratio in draft.declared:
            text = f"and search_space.{ratio} exclude each other; search one"
            yield Problem(("search_space", rate), text, (("search_space", ratio),))
        elif getattr(draft.config.optimization, ratio) is not None:
            text = f"has no effect, since optimization.{ratio} is set; drop one"
            yield Problem(("search_space", rate), text, (("optimization", ratio),))


def _ensemble_parts(draft: Draft) -> Iterator[Problem]:
    wanted, split = draft.config.transfer_learning, draft.config.split
    if split is None and draft.config.data.file is not None:
        split = SplitConfig.model_validate({})
    limits = {
        "ensemble_splits": split.n_splits if split else None,
        "ensemble_folds": (split.n_folds or 1) if split else None,
    }
    for key, limit in limits.items():
        loc: Loc = ("transfer_learning", key)
        if not draft.sound(loc, ("split",), _FILE):
            continue
        for number in getattr(wanted, key) or ():
            if number < 0 or (limit is not None and number >= limit):
                count = "" if limit is None else f"; there are {limit}"
                yield Problem(loc, f"names {number}, but they count from 0{count}")
