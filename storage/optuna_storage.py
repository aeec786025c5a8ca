"""Optuna's storage, with three gaps closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import URL, text

from chemprop_hpo.storage.locations import engine_options

__all__ = ["OptunaStorage"]


class OptunaStorage(RDBStorage):
    """Optuna's ``RDBStorage`` on a checked URL.

    It is never pickled, since its URL may hold a password, takes a URL with braces in it, and
    on SQLite hands a waiting trial to one process only.

    Parameters
    ----------
    url : URL
        From `parse_url`.
    create : bool
        Whether to create Optuna's tables. The version of existing ones is not checked here.
    """

    def __init__(self, url: URL, *, create: bool) -> None:
        plain = url.render_as_string(hide_password=False)
        super().__init__(
            plain.replace("{", "{{").replace("}", "}}"),  # Optuna formats it as a template
            engine_kwargs=engine_options(url),
            skip_compatibility_check=True,
            skip_table_creation=not create,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a storage is not pickled: its URL may hold a password")

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state in one transaction; see ``BaseStorage``."""
        if self.engine.name == "sqlite":
            self._begin_immediately()
        return super().set_trial_state_values(trial_id, state, values)

    def _begin_immediately(self) -> None:
        # Optuna reads the state and then writes it; SQLite knows no SELECT ... FOR UPDATE, so two
        # processes could take one waiting trial. The session is the thread's own.
        session = self.scoped_session()
        try:
            session.execute(text("BEGIN IMMEDIATE"))
        except BaseException:
            session.close()
            raise
