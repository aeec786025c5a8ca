"""Optuna's storage, in which nothing is written to a trial that has ended."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

from optuna._typing import JSONSerializable
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel, TrialModel, TrialUserAttributeModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, text
from sqlalchemy.orm import Session

from chemprop_hpo.storage.locations import engine_options
from chemprop_hpo.storage.reading import Reading, trials_of_study

__all__ = ["FencedStorage"]


class FencedStorage(RDBStorage):
    """Optuna's ``RDBStorage`` on a checked URL, with transactions of several changes.

    It is never pickled, since its URL may hold a password, and takes a URL with braces in it.
    Whoever writes to a trial holds it from before the look at its state: nothing lands on a
    trial that another process has ended, and a waiting trial goes to one process only.

    Parameters
    ----------
    url : URL
        From `parse_url`.
    create : bool
        Whether to create Optuna's tables. The version of existing ones is not checked here.
    """

    def __init__(self, url: URL, *, create: bool) -> None:
        plain = url.render_as_string(hide_password=False)
        try:
            super().__init__(
                plain.replace("{", "{{").replace("}", "}}"),  # Optuna formats it as a template
                engine_kwargs=engine_options(url),
                skip_compatibility_check=True,
                skip_table_creation=not create,
            )
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise

    def __reduce__(self) -> NoReturn:
        raise TypeError("a storage is not pickled: its URL may hold a password")

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Do all or nothing, in the thread's own session.

        On SQLite nobody else writes meanwhile; on PostgreSQL what is held stays as it is. Only
        methods that take the session may be called within: others end the transaction.
        """
        session: Session = self.scoped_session()
        try:
            with session.begin():
                self._begin_to_write(session)
                yield session
        finally:
            session.close()

    def hold_study(self, session: Session, study_id: int) -> Any:
        """Return a study's row, in which no other process creates a trial meanwhile.

        Whoever creates one must hold it: the trial's number is a count of those before it.
        """
        return StudyModel.find_or_raise_by_id(study_id, session, for_update=True)

    def hold_trial(self, session: Session, trial_id: int) -> Any:
        """Return a trial's row, which no other process writes to until the transaction ends."""
        return TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)

    def add_trial(self, session: Session, study_id: int, template: FrozenTrial) -> Any:
        """Create a trial in a study that is held, and return its row."""
        return self._get_prepared_new_trial(study_id, template, session)

    def write_user_attrs(self, session: Session, trial_id: int, values: Mapping[str, Any]) -> None:
        """Write user attributes of a trial that is held and not finished."""
        for key, value in values.items():
            self._set_trial_attr_without_commit(
                session, TrialUserAttributeModel, trial_id, key, value
            )

    def freeze(self, row: Any) -> FrozenTrial:
        """Return what a trial's row, and all that belongs to it, says now."""
        return self._build_frozen_trial_from_trial_model(row)

    def fail(self, session: Session, row: Any, **user_attrs: Any) -> None:
        """End a trial that is held and not finished, with its last attributes."""
        self.write_user_attrs(session, row.trial_id, user_attrs)
        row.state = TrialState.FAIL
        row.datetime_complete = datetime.now()

    def _begin_to_write(self, session: Session) -> None:
        # SQLite knows no SELECT ... FOR UPDATE: what was read could change before it is written.
        if self.engine.name == "sqlite":
            session.execute(text("BEGIN IMMEDIATE"))

    # ------------------------------------------------------------------ read trials

    # Optuna makes an object of each row of six tables, which takes minutes for a large study.

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See ``BaseStorage``."""
        with _create_scoped_session(self.scoped_session) as session:
            reading = Reading(session.connection(), TrialModel.trial_id == trial_id)
        if not (found := reading.trials()):
            raise KeyError(f"there is no trial with id {trial_id}")
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        wanted = trials_of_study(study_id, included_trial_ids, trial_id_greater_than)
        with _create_scoped_session(self.scoped_session) as session:
            reading = Reading(session.connection(), wanted, states)
            if reading.is_empty:  # the study may have been deleted
                StudyModel.find_or_raise_by_id(study_id, session)
        return reading.trials()

    # ------------------------------------------------------------------ write to a trial

    # Optuna reads the trial's state, then writes in the same session, which is the thread's own.

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See ``BaseStorage``."""
        self._hold_for_optuna(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """See ``BaseStorage``."""
        self._hold_for_optuna(trial_id)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._hold_for_optuna(trial_id)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: JSONSerializable) -> None:
        """See ``BaseStorage``."""
        self._hold_for_optuna(trial_id)
        super().set_trial_system_attr(trial_id, key, value)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        self._hold_for_optuna(trial_id)
        super()._set_trial_param(
            trial_id, param_name, param_value_internal, distribution, previous_distribution
        )

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        """See ``BaseStorage``; asks nothing, which would end the transaction."""
        if trial_state.is_finished():
            raise UpdateFinishedTrialError(f"the trial with id {trial_id} has ended")

    def _hold_for_optuna(self, trial_id: int) -> None:
        session: Session = self.scoped_session()
        try:
            self._begin_to_write(session)
            self.hold_trial(session, trial_id)
        except BaseException:
            session.close()
            raise
