"""From a YAML file and overrides to a checked SweepConfig, or to all of its problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chemprop_hpo.configs.consistency import find_inconsistencies
from chemprop_hpo.configs.document import Document, read_document, write_document
from chemprop_hpo.configs.draft import make_draft
from chemprop_hpo.configs.errors import ConfigError
from chemprop_hpo.configs.interpolation import escaped, keep_references, resolve_references
from chemprop_hpo.configs.overrides import apply_overrides
from chemprop_hpo.configs.problems import Problem, Source, dotted
from chemprop_hpo.configs.schema import SplitConfig, SweepConfig
from chemprop_hpo.configs.secrets import has_masked, mask_mapping
from chemprop_hpo.configs.space_checks import find_space_problems
from chemprop_hpo.configs.wording import problems_of
from chemprop_hpo.configs.yardstick import reported_metrics

__all__ = ["LoadedSweep", "dump_stored", "dump_sweep", "load_stored", "load_sweep"]

_FOLLOWS = (
    ("scheduler.max_t", "optimization.max_epochs"),
    ("optimization.max_epochs", "scheduler.max_t"),
    ("seed", "optimization.seed"),
    ("metric", "mode"),
    ("split.n_folds", "split.val_fraction"),
    ("split.val_fraction", "split.n_folds"),
)
_URLS = (("study", "storage"), ("mlflow", "tracking_uri"), ("promotion", "ledger"))


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep as it runs, and as it may be kept.

    Attributes
    ----------
    config : SweepConfig
        All values in force, those of the environment among them.
    stored : dict
        The same for a study or an artifact: JSON-able, all defaults written out,
        ``${oc.env:...}`` as it was written, literal passwords of URLs as ``***``.
    """

    config: SweepConfig
    stored: dict[str, Any]


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> LoadedSweep:
    """Read and check a sweep's YAML file.

    Parameters
    ----------
    path : Path
        The file.
    overrides : sequence of str
        Such as ``data.data_dir=folds/split_0/fold_0``.

    Raises
    ------
    ConfigError
        With one line for each problem of the file and the overrides.
    """
    path = Path(path)
    document = read_document(path)
    source = Source(str(path), document.lines)
    return _load(document, source, overrides, path.stem, masked=False)


def load_stored(stored: Mapping[str, Any], overrides: Sequence[str] = ()) -> LoadedSweep:
    """Check a configuration that a study keeps, to go on with it.

    Variables of the environment are read anew. A masked password stays masked: override
    its URL, ``study.storage=...``, before connecting.

    Raises
    ------
    ConfigError
        With one line for each problem.
    """
    document = Document(_freed(stored, overrides), {}, ())
    return _load(document, Source("stored configuration"), overrides, "sweep", masked=True)


def dump_sweep(config: SweepConfig) -> str:
    """Return a sweep as YAML text that loads as the same sweep; passwords are masked."""
    return dump_stored(escaped(config.model_dump(mode="json", exclude_none=True)))


def dump_stored(stored: Mapping[str, Any]) -> str:
    """Return a stored configuration as YAML text, ``${oc.env:...}`` as it is."""
    return write_document(mask_mapping(stored))


def _load(
    document: Document, source: Source, overrides: Sequence[str], name: str, *, masked: bool
) -> LoadedSweep:
    written, applied, refused = apply_overrides(document.values, overrides)
    source = replace(source, overrides=applied)
    problems = list(document.problems)
    values, unresolved = resolve_references(written)
    problems += [_with_advice(problem) for problem in unresolved] if masked else unresolved
    config = _validate(values, written, problems)
    if not masked:
        problems += _masked_urls(written)
    if problems or refused or config is None:
        raise ConfigError(*source.describe(problems), *refused)
    config = _settled(config, name)
    stored = keep_references(config.model_dump(mode="json"), written)
    return LoadedSweep(config, mask_mapping(stored))


def _validate(values: Any, written: Any, problems: list[Problem]) -> SweepConfig | None:
    known = {problem.loc for problem in problems}
    config = None
    try:
        config = SweepConfig.model_validate(values)
    except ValidationError as error:
        found = problems_of(error, written, SweepConfig)
        problems += [problem for problem in found if problem.loc not in known]
    draft = make_draft(values, config, [problem.loc for problem in problems])
    if draft is not None:
        problems += find_inconsistencies(draft)
        problems += find_space_problems(draft)
    return config


def _with_advice(problem: Problem) -> Problem:
    """Say what can be done where there is no file to correct."""
    remedy = "set it, or override the value" if "is not set" in problem.text else "override it"
    return replace(problem, text=f"{problem.text}; {remedy}: {dotted(problem.loc)}=VALUE")


def _masked_urls(written: dict[str, Any]) -> list[Problem]:
    problems = []
    for section, key in _URLS:
        part = written.get(section)
        url = part.get(key) if isinstance(part, dict) else None
        if isinstance(url, str) and has_masked(url):
            text = "has its password masked; write ${oc.env:NAME} in its place"
            problems.append(Problem((section, key), text))
    return problems


# --------------------------------------------------------------------------- what follows


def _freed(stored: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Leave out what was filled in from a key that is now overridden, so that it follows again."""
    freed = deepcopy(dict(stored))
    given = {text.partition("=")[0].strip() for text in overrides}
    for one, other in _FOLLOWS:
        if one in given and other not in given:
            *sections, key = other.split(".")
            part = freed.get(sections[0]) if sections else freed
            if isinstance(part, dict):
                part.pop(key, None)
    return freed


def _settled(config: SweepConfig, name: str) -> SweepConfig:
    """Fill in what follows from other keys, so that no reader has to ask twice."""
    seed = config.seed
    if "seed" not in config.model_fields_set and config.optimization.seed is not None:
        seed = config.optimization.seed
    epochs = config.max_epochs
    return config.model_copy(
        update={
            "seed": seed,
            "mode": _mode(config),
            "split": _split(config, seed),
            "study": config.study.model_copy(update={"name": config.study.name or name}),
            "scheduler": config.scheduler.model_copy(update={"max_t": epochs}),
            "optimization": config.optimization.model_copy(
                update={"max_epochs": epochs, "seed": seed}
            ),
        }
    )


def _mode(config: SweepConfig) -> str:
    return reported_metrics(config.task, config.data.target_cols)[config.metric]


def _split(config: SweepConfig, seed: int) -> SplitConfig | None:
    if config.data.file is None:
        return None
    split = config.split or SplitConfig.model_validate({})
    return split if split.seed is not None else split.model_copy(update={"seed": seed})
