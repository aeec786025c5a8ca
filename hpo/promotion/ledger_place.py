"""Where the ledger of a registry is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.secrets import mask_url
from chemprop_hpo.hpo.tracking.server import absolute_uri

__all__ = ["ledger_url"]

FILE = "promotions.db"


def ledger_url(config: SweepConfig) -> str:
    """Return the URL of the ledger: as configured, or that of a file beside MLflow's.

    Raises
    ------
    UsageError
        If nothing is configured and MLflow's own data are on a server: promoters on two machines
        would each keep a ledger, and both could win.
    """
    if config.promotion.ledger is not None:
        return config.promotion.ledger
    uri = config.mlflow.tracking_uri
    if urlsplit(uri).scheme.partition("+")[0] == "sqlite":
        database = make_url(absolute_uri(uri)).database
        if database and database != ":memory:":
            return f"sqlite:///{Path(database).with_name(FILE)}"
    raise UsageError(
        f"promotion.ledger is not set, and the registry is at {mask_url(uri)}; name a database "
        "that all who promote share: promotion.ledger=postgresql+psycopg://USER@HOST/DB"
    )
