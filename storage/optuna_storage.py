"""Begin and end trials and studies, each step in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.storages._rdb.models import (
    StudyUserAttributeModel,
    TrialModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState, create_trial
from sqlalchemy import delete, insert, inspect, select
from sqlalchemy.orm import Session, aliased

from chemprop_hpo.configs.errors import StorageError
from chemprop_hpo.storage.news import TrialNews, hold_states, write_news
from chemprop_hpo.storage.points import PointStorage
from chemprop_hpo.storage.tables import continuations, drivers, ensembles, members, slots

__all__ = ["OptunaStorage", "SlotLostError"]


class SlotLostError(StorageError):
    """A slot that was given to another driver while this one was asleep or cut off."""


class OptunaStorage(PointStorage):
    """Studies and trials as this package begins and ends them: each step in one transaction."""

    # ------------------------------------------------------------------ begin a trial

    def create_running_trial(
        self,
        study_id: int,
        user_attrs: Mapping[str, Any],
        fixed_params: Mapping[str, Any] | None = None,
        *,
        after: int = -1,
    ) -> int:
        """Create a running trial together with its user attributes, and return its id.

        Where the answer to an earlier call was lost with the connection, a call with the same
        ``driver`` and ``slot`` returns what that one created. A study that is open reads the
        trial with its next `get_trials`; before, no hyperparameter can be suggested for it.

        Parameters
        ----------
        study_id : int
            The study.
        user_attrs : mapping
            What the trial says of itself from its first moment on.
        fixed_params : mapping, optional
            Hyperparameters that are set, and not the sampler's to choose.
        after : int
            The id of a trial that was there before the driver had that slot: what an earlier
            call created came later.

        Raises
        ------
        SlotLostError
            The slot is another driver's by now.
        """
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs=dict(user_attrs),
            system_attrs={} if fixed_params is None else {"fixed_params": dict(fixed_params)},
        )
        with self.transaction() as session:
            self.hold_study(session, study_id)
            if (begun := _find_begun(session, study_id, user_attrs, after)) is not None:
                return begun
            _hold_claim(session, study_id, user_attrs)
            return int(self.add_trial(session, study_id, template).trial_id)

    def take_waiting(self, trial_id: int, driver_id: str) -> bool:
        """Start a waiting trial and sign it as the driver's, unless another was quicker.

        Returns
        -------
        bool
            Whether it is the driver's now, or was after a call whose answer was lost.
        """
        with self.transaction() as session:
            trial = self.hold_trial(session, trial_id)
            if trial.state == TrialState.WAITING:
                trial.state = TrialState.RUNNING
                trial.datetime_start = datetime.now()
                self.write_user_attrs(session, trial_id, {"driver": driver_id})
                return True
            signed = _user_attr_is("driver", driver_id)
            mine = select(TrialModel.trial_id).where(TrialModel.trial_id == trial_id, signed)
            return trial.state == TrialState.RUNNING and session.scalar(mine) is not None

    def has_trial_in_slot(self, session: Session, study_id: int, slot: int) -> bool:
        """Whether any trial refers to a slot of the budget."""
        in_slot = select(TrialModel.trial_id).where(
            TrialModel.study_id == study_id, _user_attr_is("slot", slot)
        )
        return session.scalar(in_slot.limit(1)) is not None

    # ------------------------------------------------------------------ what becomes of a trial

    def write_trial(
        self,
        trial_id: int,
        intermediate_values: Mapping[int, float],
        user_attrs: Mapping[str, Any],
    ) -> None:
        """Write what a running trial has reached, in one transaction.

        Raises
        ------
        UpdateFinishedTrialError
            If it has ended.
        """
        self.write_news([TrialNews(trial_id, intermediate_values, user_attrs)])

    def write_news(self, news: Sequence[TrialNews]) -> None:
        """Write what running trials have reached, in one transaction.

        Raises
        ------
        UpdateFinishedTrialError
            If one of them has ended; then nothing is written.
        """
        with self.transaction() as session:
            for trial_id, state in hold_states(session, (one.trial_id for one in news)).items():
                self.check_trial_is_updatable(trial_id, state)
            write_news(session, news)

    def finish_trial(
        self,
        trial_id: int,
        state: TrialState,
        value: float | None,
        *,
        intermediate_values: Mapping[int, float],
        user_attrs: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> None:
        """End a running trial together with its last values, in one transaction.

        A second call with the same state and ``stop_reason``, after an answer that was lost,
        does nothing.

        Parameters
        ----------
        trial_id : int
            The trial.
        state : TrialState
            A finished state.
        value : float or None
            The trial's value.
        intermediate_values, user_attrs : mapping
            Values by step, and attributes, to be written with the end.
        constraints : mapping
            Amounts by which the trial violates constraints, as ``Trial.set_constraint`` has it.

        Raises
        ------
        UpdateFinishedTrialError
            If it has ended otherwise.
        """
        with self.transaction() as session:
            row = self.hold_trial(session, trial_id)
            if row.state == state and self._ended_as(session, trial_id, user_attrs):
                return
            self.check_trial_is_updatable(trial_id, row.state)
            write_news(session, [TrialNews(trial_id, intermediate_values, user_attrs)])
            for name, amount in constraints.items():
                key = f"{_CONSTRAINTS_KEY}:{name}"
                self._set_trial_attr_without_commit(
                    session, TrialSystemAttributeModel, trial_id, key, amount
                )
            if value is not None:
                self._set_trial_value_without_commit(session, row, 0, value)
            row.state, row.datetime_complete = state, datetime.now()

    def _ended_as(self, session: Session, trial_id: int, user_attrs: Mapping[str, Any]) -> bool:
        same = _user_attr_is("stop_reason", user_attrs.get("stop_reason"))
        query = select(TrialModel.trial_id).where(TrialModel.trial_id == trial_id, same)
        return session.scalar(query) is not None

    # ------------------------------------------------------------------ write to a study

    def delete_study(self, study_id: int) -> None:
        """Delete a study with all that is kept of it, in one transaction."""
        with self.transaction() as session:
            session.delete(self.hold_study(session, study_id))
            _delete_own_rows(session, study_id)

    def forget_study(self, study_id: int) -> None:
        """Delete what the package's own tables hold of a study."""
        with self.transaction() as session:
            _delete_own_rows(session, study_id)

    def write_study_user_attrs(self, study_id: int, values: Mapping[str, Any]) -> None:
        """Write several user attributes of a study: all of them or none."""
        with self.transaction() as session:
            self.hold_study(session, study_id)
            rows = StudyUserAttributeModel.where_study_id(study_id, session)
            old: dict[Any, Any] = {row.key: row for row in rows}
            for key, value in values.items():
                row = old.get(key) or StudyUserAttributeModel(study_id=study_id, key=key)
                row.value_json = json.dumps(value)
                session.add(row)


def _delete_own_rows(session: Session, study_id: int) -> None:
    present = set(inspect(session.connection()).get_table_names())
    for rows in (drivers, slots, continuations, members, ensembles):
        if rows.name in present:  # not in a database of an older version
            session.execute(delete(rows).where(rows.c.study_id == study_id))


def _find_begun(
    session: Session, study_id: int, user_attrs: Mapping[str, Any], after: int
) -> int | None:
    """Return the trial with which the same driver has taken up the same slot."""
    if not user_attrs.keys() >= {"driver", "slot"}:
        return None
    same = [_user_attr_is(key, user_attrs[key]) for key in ("driver", "slot")]
    later = TrialModel.trial_id > after
    query = select(TrialModel.trial_id).where(TrialModel.study_id == study_id, later, *same)
    return session.scalar(query)


def _hold_claim(session: Session, study_id: int, user_attrs: Mapping[str, Any]) -> None:
    """Make sure that the slot stays the driver's, which slept since it claimed it, perhaps."""
    if not user_attrs.keys() >= {"driver", "slot"}:
        return
    slot, driver_id = user_attrs["slot"], user_attrs["driver"]
    claim = select(slots.c.driver_id).where(slots.c.study_id == study_id, slots.c.slot == slot)
    owner = session.scalar(claim.with_for_update())
    if owner is None:
        values = {"study_id": study_id, "slot": slot, "driver_id": driver_id}
        session.execute(insert(slots).values(values))
    elif owner != driver_id:
        raise SlotLostError(
            f"place {slot} of the budget went to another driver while this one was away; "
            "run the same command again"
        )


def _user_attr_is(key: str, value: Any) -> Any:
    """Return the condition that a trial has that user attribute, which Optuna keeps as JSON."""
    attribute = aliased(TrialUserAttributeModel)
    return (
        select(attribute.trial_id)
        .where(attribute.trial_id == TrialModel.trial_id)
        .where(attribute.key == key, attribute.value_json == json.dumps(value))
        .exists()
    )
