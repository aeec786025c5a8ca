"""One driver's time with a study: take up what was left, run trials, leave all in order."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import ChempropHpoError, DiskFullError, SweepFailedError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.configs.secrets import same_place
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.events import Audience, SweepEnded, SweepStarted
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.book import Flight, TrialBook
from chemprop_hpo.hpo.search.past import OtherDrivers, PastTrials
from chemprop_hpo.hpo.search.sampler import budget, build_sampler, preset_points
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.search.source import TrialSource
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.trial.callback import SweepCallback
from chemprop_hpo.hpo.trial.capacity import Placement, place
from chemprop_hpo.hpo.trial.cluster import nodes, require_shared_folder
from chemprop_hpo.hpo.trial.ending import EarlyEnd
from chemprop_hpo.hpo.trial.interrupts import Interrupts
from chemprop_hpo.hpo.trial.trainable import TrialJob
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.hpo.trial.tuning import tune_trials
from chemprop_hpo.hpo.trial.weights import keep_only
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.drivers import Roster
from chemprop_hpo.storage.outages import is_full, is_outage, unless_away
from chemprop_hpo.storage.ownership import BEAT_EVERY_S, Driver, StopReason, continue_trial
from chemprop_hpo.storage.pulse import Pulse
from chemprop_hpo.storage.slots import has_all_trials
from chemprop_hpo.storage.studies import Study, read_record
from chemprop_hpo.storage.trials import TrialRecord, best_trials, counts, folders_in_use

__all__ = ["Drive", "SweepResult"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    ``reason`` is ``finished``, ``interrupted`` or ``time_budget``; ``signal`` is the number of
    the signal that interrupted it.
    """

    study: str
    storage: str
    """Database URL with its password masked."""
    counts: Mapping[str, int]
    best: TrialRecord | None
    signal: int | None
    reason: str


@dataclass
class Drive:
    """One driver's time with a study.

    Parameters
    ----------
    config : SweepConfig
        The sweep.
    folder : Path
        The study's folder, absolute.
    db : Database
        Holds the study.
    study : optuna.Study
        The study, which exists.
    audience : Audience
        Told what happens.
    resumed : bool
        Whether others worked on the study before.
    train : callable
        Trains one model.
    """

    config: SweepConfig
    folder: Path
    db: Database
    study: Study
    audience: Audience
    resumed: bool
    train: Train

    def __post_init__(self) -> None:
        # Now, since the database may be away when it is said.
        self._how_to_resume = _how_to_resume(self.db, self.study)
        self.interrupts = Interrupts(self._how_to_resume)
        self.presets = preset_points(self.config, Space.of(self.config))

    @property
    def total(self) -> int:
        """The study's budget, in trials."""
        return budget(self.config, self.presets)

    def result_if_done(self) -> SweepResult | None:
        """Return the result of a study that has all its trials, or None if any is to be run."""
        if not has_all_trials(self.study, self.total):
            return None
        log.info("study %s has all its %d trials", self.study.study_name, self.total)
        self.tidy()  # whoever ran the last of them may have been killed before it could
        return self._result("finished")

    def run(self, fold: Fold) -> SweepResult:
        """Run trials until the budget is spent or the sweep is ended early.

        Raises
        ------
        SweepFailedError
            If Ray or the database went away; what was finished is kept.
        DiskFullError
            If there is no room left for checkpoints or for the database.
        """
        try:
            return self._run(fold)
        except Exception as error:
            failure = self._failure_of(error)
            if self.interrupts.received is not None:
                failure.exit_code = 128 + self.interrupts.received
            raise failure from (None if failure is not error else error.__cause__)

    def _run(self, fold: Fold) -> SweepResult:
        space = Space.of(self.config)
        self.study.sampler = build_sampler(self.config.sampler, self.config.seed, space)
        with self.interrupts.in_ray():
            require_shared_folder(self.folder)
        driver = Driver.register(self.db, self.study)
        try:
            with Pulse(driver, self.study) as pulse:
                reason = _Flights(self, driver, pulse).fly(fold)
        finally:
            with unless_away():
                driver.leave()
        result = self._patiently(lambda: self._result(reason))
        self.tidy()
        return result

    def _patiently(self, read: Callable[[], SweepResult]) -> SweepResult:
        """Read from the study; all is done, so a database that is away is waited for."""
        deadline = time.monotonic() + self.config.study.outage_limit_s
        while True:
            try:
                return read()
            except Exception as error:
                is_late = time.monotonic() > deadline or self.interrupts.received is not None
                if is_late or not is_outage(error):
                    raise
                time.sleep(1.0)

    def _failure_of(self, error: Exception) -> Any:
        """Return an error as it is, or what it means where the database went away or is full."""
        if isinstance(error, ChempropHpoError):
            return error
        if is_full(error):
            return self.no_room(str(error.__cause__ or error).splitlines()[0])
        return self.database_gone() if is_outage(error) else error

    # ------------------------------------------------------------------ what can go wrong

    def no_room(self, why: str) -> DiskFullError:
        """Return the error of a place that cannot be written to: a full disk, mostly."""
        return DiskFullError(f"{why}; put that right; {self._how_to_resume}")

    def database_gone(self) -> SweepFailedError:
        """Return the error of a database that does not come back."""
        return SweepFailedError(f"{self.db.masked_url} is away; {self._how_to_resume}")

    def ray_gone(self) -> SweepFailedError:
        """Return the error of a cluster that is no longer there."""
        return SweepFailedError(f"the Ray cluster went away; {self._how_to_resume}")

    # ------------------------------------------------------------------ what is told

    def announce(self, concurrency: int) -> None:
        """Tell the audience that the sweep begins."""
        best = self.best()
        trials = self.study.get_trials(deepcopy=False)
        event = SweepStarted(
            study=self.study.study_name,
            storage=self.db.masked_url,
            metric=self.config.metric,
            mode=self.config.mode,
            num_samples=self.total,
            max_epochs=self.config.max_epochs,
            concurrency=concurrency,
            resumed=self.resumed,
            counts=counts(self.study),
            best=best.value if best else None,
            continued=sum(t.user_attrs.get("continued_by") is not None for t in trials),
        )
        self.audience.tell(lambda observer: observer.sweep_started(event))

    def conclude(self, reason: str) -> None:
        """Tell the audience that the sweep has ended."""
        best: TrialRecord | None = None
        found: Mapping[str, int] = {}
        with unless_away():
            best, found = self.best(), counts(self.study)
        number, value = (best.number, best.value) if best else (None, None)
        event = SweepEnded(reason, found, number, value)
        self.audience.tell(lambda observer: observer.sweep_ended(event))

    def best(self) -> TrialRecord | None:
        """Return the best complete trial."""
        complete = counts(self.study).get("COMPLETE", 0)
        return best_trials(self.study, 1)[0] if complete else None

    def tidy(self) -> None:
        """Remove files that no trial needs; a later call does what this one cannot."""
        top_k = self.config.transfer_learning.top_k
        try:
            with unless_away():
                keep_only(self.folder, lambda: folders_in_use(self.study, top_k))
        except OSError as error:
            log.warning("files that no trial needs are left for later: %s", error)

    def _result(self, reason: str) -> SweepResult:
        return SweepResult(
            study=self.study.study_name,
            storage=self.db.masked_url,
            counts=counts(self.study),
            best=self.best(),
            signal=self.interrupts.received if reason == "interrupted" else None,
            reason=reason,
        )


class _Flights:
    """The trials that a driver runs, from the first to the last."""

    def __init__(self, drive: Drive, driver: Driver, pulse: Pulse) -> None:
        self.drive = drive
        self.driver = driver
        self.pulse = pulse
        self.source = TrialSource(drive.db, drive.study, driver, drive.total, drive.presets)
        self.book = TrialBook(drive.db, drive.audience)

    def fly(self, fold: Fold) -> str:
        """Run trials until there are no more, or the sweep must end; return why it ended."""
        self.source.take_up_orphans()
        self.drive.tidy()  # a deleted study of the same name may have left its weights
        placement = self._place()
        self.drive.announce(placement.concurrency)
        asha = self._asha()
        stopped = asha.stopped if asha else set()
        searcher = StudySearcher(
            self.drive.config,
            self.source,
            self.book,
            placement.concurrency,
            stopped.__contains__,
            must_end=lambda: end.is_due(),
        )
        end = self._early_end(searcher)
        callback = SweepCallback(searcher, self.book.writer, self.drive.audience, self.drive.tidy)
        job = TrialJob.of(self.drive.config, self.drive.folder, self.drive.train)
        try:
            tune_trials(searcher, asha, end, callback, job, fold, placement.concurrency)
        except BaseException:
            self._finish("failed")
            raise
        return self._conclude(end)

    def _place(self) -> Placement:
        with self.drive.interrupts.in_ray():
            placement = place(self.drive.config.resources, nodes())
        for line in placement.lines:
            log.info(line)
        return placement

    def _asha(self) -> Asha | None:
        config = self.drive.config
        if config.scheduler.type == "none":
            return None
        db, study = self.drive.db, self.drive.study
        past = PastTrials(study)
        others = OtherDrivers(past, self.driver.id, lambda: Roster.of(db, study))
        asha = Asha(
            config.scheduler,
            config.max_epochs,
            config.mode,
            self.book.chain_of,
            others=lambda: others.look() if self.book.writer.may_read() else (),
        )
        asha.rebuild(past.look())
        return asha

    def _early_end(self, searcher: StudySearcher) -> EarlyEnd:
        return EarlyEnd(
            self.drive.interrupts,
            lambda: self._failure(searcher),
            self.drive.config.time_budget_s,
            searcher.has_ended,
            self._settle,
        )

    def _failure(self, searcher: StudySearcher) -> ChempropHpoError | None:
        """Return why the sweep cannot go on, or None if it can."""
        if searcher.fatal is not None:
            return self.drive.no_room(f"{self.drive.folder}: {searcher.fatal}")
        if (full := self.book.writer.full) is not None:
            return self.drive.no_room(f"{self.drive.db.masked_url}: {full}")
        if self.pulse.deleted:
            return SweepFailedError(f"study '{self.drive.study.study_name}' was deleted meanwhile")
        # A beat is due every BEAT_EVERY_S; only what is beyond that is an outage.
        if self.pulse.silent_s() - BEAT_EVERY_S > self.drive.config.study.outage_limit_s:
            return self.drive.database_gone()
        return None

    # ------------------------------------------------------------------ the end

    def _conclude(self, end: EarlyEnd) -> str:
        reason = end.reason or ("failed" if self.book.flights else "finished")
        self._finish(reason)
        if end.failure is not None:
            raise end.failure
        if reason == "failed":
            raise self.drive.ray_gone()
        if self.book.flights or self.book.writer.waiting:
            raise self.drive.database_gone()
        return reason

    def _finish(self, reason: str) -> None:
        self._settle(reason)
        self.drive.conclude(reason)

    def _settle(self, reason: str) -> None:
        """Mark what is in flight, so that it can be continued.

        Done before the workers are stopped: if Ray goes down with them, the study is in order.
        Where the database is away it is left running there, for resume to find.
        """
        why: StopReason = "time_budget" if reason == "time_budget" else "interrupted"
        with unless_away():
            if self.book.writer.flush():
                for flight in list(self.book.flights.values()):
                    self._hand_over(flight, why)

    def _hand_over(self, flight: Flight, why: StopReason) -> None:
        self.book.note_end(flight, why)
        if self.book.writer.waiting:
            return  # the database went away; it is left running there
        if flight.ray_id not in self.book.flights:
            return  # another driver has it
        frozen = self.drive.db.storage.get_trial(flight.trial._trial_id)
        continue_trial(self.drive.db, self.drive.study, frozen, self.driver.id, why)
        self.book.forget(flight, "FAIL", why)


def _how_to_resume(db: Database, study: Study) -> str:
    stored = (read_record(study).config.get("study") or {}).get("storage", "")
    # A reference such as ${oc.env:PGPASSWORD} can be copied as it is; a mask cannot.
    url = stored if same_place(stored, db.masked_url) else db.masked_url
    name = shlex.quote(study.study_name)
    command = f"chemprop-hpo resume --study {name} --storage {shlex.quote(url)}"
    return f"finished trials are kept; resume with: {command}"
