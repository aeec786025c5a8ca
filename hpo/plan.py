"""What a sweep would do: everything checked, nothing started."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from chemprop_hpo.configs.load import LoadedSweep, dump_stored
from chemprop_hpo.configs.schema import (
    AtomFeatures,
    MoleculeFeature,
    SweepConfig,
    Value,
)
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.configs.space import grid_values
from chemprop_hpo.hpo.chemistry.data import read_fold
from chemprop_hpo.hpo.search.sampler import sample_points
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, local_nodes, nodes
from chemprop_hpo.storage.database import open_if_ready
from chemprop_hpo.storage.studies import study_exists

__all__ = ["SweepPlan", "featurizers", "plan_sweep"]

SAMPLES = 5


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that was checked and not started, ready to be read by a person."""

    config_yaml: str
    data_lines: list[str]
    resource_lines: list[str]
    storage_line: str
    space_tree: str
    space_size: str
    samples: list[dict[str, Value]]


def plan_sweep(loaded: LoadedSweep) -> SweepPlan:
    """Check data, resources and database, and return what a sweep would do.

    Raises
    ------
    DataError, ResourceError, StorageError, SpaceError
        What a sweep would stumble over.
    """
    config = loaded.config
    space = Space.of(config)
    return SweepPlan(
        config_yaml=dump_stored(loaded.stored),
        data_lines=read_fold(config).report.lines(),
        resource_lines=_resource_lines(config),
        storage_line=_storage_line(config),
        space_tree=space.tree(),
        space_size=space.describe_size(),
        samples=sample_points(config, space, SAMPLES),
    )


def featurizers(
    config: SweepConfig,
) -> tuple[Collection[AtomFeatures], Collection[MoleculeFeature]]:
    """Return the atom featurizers and molecule features that any trial may need."""
    atoms = _possible(config, "atom_features")
    vectors = _possible(config, "molecule_features")
    models = [config.model.model_copy(update={"molecule_features": v}) for v in sorted(vectors)]
    needed = {name for model in models for name in model.molecule_feature_names}
    checked = cast(list[AtomFeatures], sorted(atoms))  # names are checked on load
    return checked, cast(list[MoleculeFeature], sorted(needed))


def _possible(config: SweepConfig, name: str) -> set[str]:
    """Return every value that a trial may have: searched ones, and the base's where it is kept."""
    base, parameter = str(getattr(config.model, name)), config.search_space.get(name)
    if parameter is None:
        return {base}
    searched = {str(value) for value in grid_values(parameter) or ()}
    return searched | {base} if config.base or parameter.condition else searched


def _resource_lines(config: SweepConfig) -> list[str]:
    if config.ray.address is None:
        return list(place(config.resources, local_nodes()).lines)
    with connected(config.ray.address):
        return list(place(config.resources, nodes()).lines)


def _storage_line(config: SweepConfig) -> str:
    url, name = config.study.storage, config.study_name
    database = open_if_ready(url)
    if database is None:
        return f"study {name!r} would be created in {mask_url(url)}, which is new"
    with database:
        verb = "exists and would go on" if study_exists(database, name) else "would be created"
        return f"study {name!r} {verb} in {database.masked_url}"
