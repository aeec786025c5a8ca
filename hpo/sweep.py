"""Start a sweep or go on with one: study, workers, scheduler and observers put together."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from chemprop_hpo.configs.errors import DiskFullError, SweepFailedError
from chemprop_hpo.configs.load import LoadedSweep, load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.chemistry.data import read_fold
from chemprop_hpo.hpo.chemistry.features import featurise_fold
from chemprop_hpo.hpo.chemistry.training import train
from chemprop_hpo.hpo.events import Audience, Observer, SweepEnded, SweepStarted
from chemprop_hpo.hpo.identity import check_study, manifest_of, record_of, study_folder
from chemprop_hpo.hpo.plan import SweepPlan, check_tracking, featurizers, plan_sweep
from chemprop_hpo.hpo.search.asha import Asha
from chemprop_hpo.hpo.search.book import TrialBook
from chemprop_hpo.hpo.search.past import past_trials
from chemprop_hpo.hpo.search.sampler import build_sampler, preset_points
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.search.source import TrialSource
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.trial.callback import SweepCallback
from chemprop_hpo.hpo.trial.capacity import place
from chemprop_hpo.hpo.trial.cluster import connected, local_nodes, nodes, require_shared_folder
from chemprop_hpo.hpo.trial.ending import EarlyEnd
from chemprop_hpo.hpo.trial.interrupts import Interrupts
from chemprop_hpo.hpo.trial.trainable import TrialJob
from chemprop_hpo.hpo.trial.training_thread import Train
from chemprop_hpo.hpo.trial.tuning import tune_trials
from chemprop_hpo.hpo.trial.weights import claim_folder, keep_only, refuse_foreign
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import (
    Driver,
    StopReason,
    continue_trial,
    mend_continuations,
    orphans,
    release_stale_slots,
)
from chemprop_hpo.storage.studies import (
    Study,
    open_or_create_study,
    open_study,
    read_record,
    study_exists,
)
from chemprop_hpo.storage.trials import TrialRecord, best_trials, counts, folders_in_use

__all__ = ["SweepPlan", "SweepResult", "plan_sweep", "resume_sweep", "start_sweep"]

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


def start_sweep(
    loaded: LoadedSweep, *, observers: Sequence[Observer] = (), train: Train = train
) -> SweepResult:
    """Run the sweep of a configuration; a study of that name is gone on with.

    Parameters
    ----------
    loaded : LoadedSweep
        The configuration.
    observers : sequence of Observer
        Told what happens, beside MLflow where the configuration asks for it.
    train : callable
        Trains one model, with the signature of `chemprop_hpo.hpo.chemistry.training.train`.

    Returns
    -------
    SweepResult

    Raises
    ------
    DataError, ResourceError, StorageError, StudyMismatchError, TrackingError
        Before anything is trained.
    SweepFailedError
        If the cluster went away; what was finished is kept.
    """
    config = loaded.config
    with ExitStack() as stack:
        # First everything that the user may have to put right; nothing is stored before.
        tables = read_fold(config)
        _check_fits(config, stack)
        manifest = manifest_of(config)
        check_study(loaded, manifest)
        check_tracking(config)
        _say(tables.report.lines())
        fold = featurise_fold(tables, config, *featurizers(config))
        _say(fold.notes)

        db = stack.enter_context(open_database(config.study.storage))
        folder = study_folder(config, db)
        if not study_exists(db, config.study_name):
            refuse_foreign(folder, config.study_name, None)
        record = record_of(loaded, manifest, folder)
        study, created = open_or_create_study(db, config.study_name, record)
        claim_folder(folder, study.study_name, study.user_attrs["created"], db.masked_url)
        audience = Audience([*observers, *_trackers(loaded, manifest)])
        stack.enter_context(connected(config.ray.address))
        sweep = _Sweep(config, folder, db, study, audience, not created, train)
        with sweep.interrupts:
            return sweep.run(fold)


def resume_sweep(
    name: str,
    storage_url: str,
    *,
    overrides: Sequence[str] = (),
    num_samples: int | None = None,
    observers: Sequence[Observer] = (),
    train: Train = train,
) -> SweepResult:
    """Go on with a study; the database alone suffices.

    Parameters
    ----------
    name : str
        The study.
    storage_url : str
        Its database, with the password.
    overrides : sequence of str
        ``key=value`` changes of what may differ here: paths, resources, tracking.
    num_samples : int, optional
        The study's new total of trials.
    observers, train
        As in `start_sweep`.

    Raises
    ------
    UnknownStudyError
        If there is no such study.
    """
    with open_database(storage_url, create=False) as db:
        study = open_study(db, name)
        stored = read_record(study).config
    total = [] if num_samples is None else [f"num_samples={num_samples}"]
    loaded = load_stored(stored, [*overrides, *total])
    here = loaded.config.study.model_copy(update={"storage": storage_url, "name": name})
    config = loaded.config.model_copy(update={"study": here})
    return start_sweep(LoadedSweep(config, loaded.stored), observers=observers, train=train)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        log.info(line)


def _check_fits(config: SweepConfig, stack: ExitStack) -> None:
    # Before anything is stored. A private Ray starts later: it takes seconds.
    if config.ray.address is None and not ray.is_initialized():
        place(config.resources, local_nodes())
    else:
        stack.enter_context(connected(config.ray.address))
        place(config.resources, nodes())


def _trackers(loaded: LoadedSweep, manifest: Mapping[str, Any]) -> tuple[Observer, ...]:
    if not loaded.config.mlflow.tracking:
        return ()
    from chemprop_hpo.hpo.tracking.mlflow_runs import MlflowObserver  # seconds to import

    return (
        MlflowObserver(
            loaded.config.mlflow,
            study=loaded.config.study_name,
            config_stored=loaded.stored,
            manifest=dict(manifest),
            space=Space.of(loaded.config).to_json(),
        ),
    )


@dataclass
class _Sweep:
    """One driver's time with a study."""

    config: SweepConfig
    folder: Path
    db: Database
    study: Study
    audience: Audience
    resumed: bool
    train: Train

    def __post_init__(self) -> None:
        self.interrupts = Interrupts(f"Ray did not stop; {self._how_to_resume()}")

    def run(self, fold: Any) -> SweepResult:
        """Run trials until the budget is spent or the sweep is ended early."""
        self.study.sampler = build_sampler(self.config.sampler, self.config.seed)
        require_shared_folder(self.folder)
        driver = Driver.register(self.db, self.study)
        try:
            self._take_up_orphans(driver)
            self._tidy()  # a deleted study of the same name may have left its weights
            reason = self._drive(driver, fold)
        finally:
            driver.leave()
        self._tidy()
        return self._result(reason)

    def _take_up_orphans(self, driver: Driver) -> None:
        mend_continuations(self.db, self.study, driver.id)
        for orphan in orphans(self.db, self.study):
            log.warning("trial %d has lost its driver and is continued", orphan.number)
            continue_trial(self.db, self.study, orphan, driver.id, "orphaned")
        release_stale_slots(self.db, self.study)

    def _drive(self, driver: Driver, fold: Any) -> str:
        placement = place(self.config.resources, nodes())
        _say(placement.lines)
        presets = preset_points(self.config, Space.of(self.config))
        source = TrialSource(self.db, self.study, driver, self._total(presets), presets)
        book = TrialBook(self.study, driver.id, self.audience)
        asha = self._asha(book)
        stopped = asha.stopped if asha else set()
        searcher = StudySearcher(
            self.config, source, book, placement.concurrency, stopped.__contains__
        )
        self._announce(placement.concurrency, self._total(presets))
        end = EarlyEnd(
            self.interrupts,
            lambda: searcher.fatal is not None,
            self.config.time_budget_s,
            lambda reason: self._settle(book, driver, reason),
        )
        callback = SweepCallback(searcher, driver, self.audience, self._tidy)
        job = TrialJob.of(self.config, self.folder, self.train)
        try:
            tune_trials(searcher, asha, end, callback, job, fold, placement.concurrency)
        except BaseException:
            self._finish(book, driver, "failed")
            raise
        source.close()
        reason = self._finish(book, driver, end.reason)
        if searcher.fatal is not None:
            raise DiskFullError(
                f"{self.folder}: {searcher.fatal}; make room there; {self._how_to_resume()}"
            )
        if reason == "failed":
            raise SweepFailedError(f"the Ray cluster went away; {self._how_to_resume()}")
        return reason

    def _total(self, presets: Sequence[Mapping[str, Any]]) -> int:
        total = self.config.num_samples
        return min(total, len(presets)) if self.config.sampler.type == "grid" else total

    def _asha(self, book: TrialBook) -> Asha | None:
        if self.config.scheduler.type == "none":
            return None
        asha = Asha(self.config.scheduler, self.config.max_epochs, self.config.mode, book.chain_of)
        asha.rebuild(past_trials(self.study))
        return asha

    # ------------------------------------------------------------------ the end

    def _settle(self, book: TrialBook, driver: Driver, reason: str) -> None:
        """Mark what is in flight, so that it can be continued.

        Done before the workers are stopped: if Ray goes down with them, the study is in order.
        """
        why: StopReason = "time_budget" if reason == "time_budget" else "interrupted"
        for flight in list(book.flights.values()):
            book.note_end(flight, why)
            frozen = self.db.storage.get_trial(flight.trial._trial_id)
            continue_trial(self.db, self.study, frozen, driver.id, why)
            book.forget(flight, "FAIL", why)

    def _finish(self, book: TrialBook, driver: Driver, reason: str | None) -> str:
        """Settle what is left and tell everyone how the sweep ended."""
        reason = reason or ("failed" if book.flights else "finished")
        self._settle(book, driver, reason)
        best = self._best()
        event = SweepEnded(
            reason,
            counts(self.study),
            best.number if best else None,
            best.value if best else None,
        )
        self.audience.tell(lambda observer: observer.sweep_ended(event))
        return reason

    def _how_to_resume(self) -> str:
        name, url = self.study.study_name, self.db.masked_url
        return (
            "finished trials are kept; resume with: "
            f"chemprop-hpo resume --study {shlex.quote(name)} --storage {shlex.quote(url)}"
        )

    def _announce(self, concurrency: int, total: int) -> None:
        best = self._best()
        event = SweepStarted(
            study=self.study.study_name,
            storage=self.db.masked_url,
            metric=self.config.metric,
            mode=self.config.mode,
            num_samples=total,
            max_epochs=self.config.max_epochs,
            concurrency=concurrency,
            resumed=self.resumed,
            counts=counts(self.study),
            best=best.value if best else None,
        )
        self.audience.tell(lambda observer: observer.sweep_started(event))

    def _best(self) -> TrialRecord | None:
        complete = counts(self.study).get("COMPLETE", 0)
        return best_trials(self.study, 1)[0] if complete else None

    def _result(self, reason: str) -> SweepResult:
        return SweepResult(
            study=self.study.study_name,
            storage=self.db.masked_url,
            counts=counts(self.study),
            best=self._best(),
            signal=self.interrupts.received if reason == "interrupted" else None,
            reason=reason,
        )

    def _tidy(self) -> None:
        top_k = self.config.transfer_learning.top_k
        keep_only(self.folder, lambda: folders_in_use(self.study, top_k))
