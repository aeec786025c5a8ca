"""Open the registry and the ledger of a study's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chemprop_hpo.hpo.commands.opening import existing_database, latest
from chemprop_hpo.hpo.commands.overrides import checked_overrides

if TYPE_CHECKING:
    from chemprop_hpo.configs.load import LoadedSweep
    from chemprop_hpo.configs.schema import SweepConfig
    from chemprop_hpo.hpo.promotion.registered.registry import Registry
    from chemprop_hpo.storage.ledger import Ledger

__all__ = ["OpenRegistry", "configured", "opened"]


@dataclass(frozen=True)
class OpenRegistry:
    """A registered model and its ledger, and the configuration that names both."""

    config: SweepConfig
    registry: Registry
    ledger: Ledger


def configured(study: str | None, storage: str, overrides: Sequence[str] | None) -> LoadedSweep:
    """Return a study's configuration; its data need not be here."""
    from chemprop_hpo.configs.resuming import load_resumed
    from chemprop_hpo.storage.studies import open_study, read_record

    changes = checked_overrides(overrides)
    with existing_database(storage) as database:
        name = study or latest(database)
        record = read_record(open_study(database, name))
    return load_resumed(record.config, changes, name=name, storage=storage)


@contextmanager
def opened(loaded: LoadedSweep, *, begins: bool = False) -> Iterator[OpenRegistry]:
    """Open the registered model that a configuration names, and the ledger beside it.

    Parameters
    ----------
    loaded : LoadedSweep
    begins : bool
        Whether the command may be the first: then a ledger is made where there is none.
        Otherwise no file is made, and a registered model that neither is there nor was is refused.

    Raises
    ------
    UsageError
        If there is no such model, or none that MLflow can take.
    TrackingError, StorageError
        If the registry or the ledger cannot be used.
    """
    from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
    from chemprop_hpo.hpo.promotion.registered.registry import open_registry
    from chemprop_hpo.storage.ledger import open_ledger

    config = loaded.config
    url = ledger_url(config)
    registry = open_registry(config)
    with open_ledger(url, create=begins) as ledger:
        if not begins and not ledger.history(registry.model):
            registry.require()
        yield OpenRegistry(config, registry, ledger)
