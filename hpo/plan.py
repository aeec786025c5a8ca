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
from chemprop_hpo.hpo.chemistry.tables.data import FoldTables, read_fold
from chemprop_hpo.hpo.identity import check_study, manifest_of
from chemprop_hpo.hpo.search.sampler import sample_points
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, local_nodes, nodes

__all__ = ["SweepPlan", "check_tracking", "featurizers", "plan_sweep"]

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


def plan_sweep(loaded: LoadedSweep, *, accept_changed_data: bool = False) -> SweepPlan:
    """Check data, resources, tracking and database, and return what a sweep would do.

    Raises
    ------
    DataError, ResourceError, SpaceError, StorageError, StudyMismatchError, TrackingError
        What a sweep would stumble over.
    """
    config = loaded.config
    space = Space.of(config)
    check_tracking(config)
    tables = read_fold(config)
    return SweepPlan(
        config_yaml=dump_stored(loaded.stored),
        data_lines=tables.report.lines(),
        resource_lines=_resource_lines(config),
        storage_line=_storage_line(loaded, tables, accept_changed_data),
        space_tree=space.tree(),
        space_size=space.describe_size(),
        samples=sample_points(config, space, SAMPLES),
    )


def check_tracking(config: SweepConfig) -> None:
    """Check that runs can be logged where the configuration says so; make nothing.

    Raises
    ------
    TrackingError
        If the server cannot be reached or used.
    """
    if config.mlflow.tracking:
        from chemprop_hpo.hpo.tracking.server import check_reachable  # imports MLflow: seconds

        check_reachable(config.mlflow.tracking_uri)


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


def _storage_line(loaded: LoadedSweep, tables: FoldTables, accept_changed_data: bool) -> str:
    manifest = manifest_of(loaded.config, tables)
    what = check_study(loaded, manifest, accept_changed_data=accept_changed_data)
    study = loaded.config.study
    return f"study {study.name!r} {what}: {mask_url(study.storage)}"
