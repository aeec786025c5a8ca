"""How far a sweep has come, asked often and cheaply."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from chemprop_hpo.storage.locations import engine_options, parse_url

__all__ = ["Progress"]

EPOCHS = text("SELECT count(*) FROM trial_intermediate_values")
TRAINED = text("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')")


class Progress:
    """Counts what a database holds; the last counts stand where it cannot be read now."""

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self._engine = create_engine(parsed, poolclass=NullPool, **engine_options(parsed))
        self.epochs = 0
        """Epochs reported by all trials."""
        self.trained = 0
        """Trials that ended well."""

    def look(self) -> Self:
        try:
            with self._engine.connect() as connection:
                self.epochs = connection.execute(EPOCHS).scalar_one()
                self.trained = connection.execute(TRAINED).scalar_one()
        except SQLAlchemyError:  # no tables yet, or struck
            pass
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.dispose()
