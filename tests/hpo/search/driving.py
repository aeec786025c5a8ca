"""A driver without Ray: the searcher asked and told by hand, on a database that can go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from chemprop_hpo.hpo.drive import Drive, _Flights
from chemprop_hpo.hpo.events import Audience
from chemprop_hpo.hpo.identity import manifest_of, record_of
from chemprop_hpo.hpo.search.reports import TrialReport
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.searcher import StudySearcher
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.storage.database import Database, open_database
from chemprop_hpo.storage.ownership import Driver
from chemprop_hpo.storage.studies import open_or_create_study
from tests.hpo import scripted


class Driving:
    """One driver of a study, and what it would be asked by Tune."""

    def __init__(
        self, url: str, folder: Path, scripts: list[int], concurrency: int = 2, **sections: Any
    ) -> None:
        study = {"name": "scripted", "storage": url, "folder": str(folder / "study")}
        loaded = scripted.sweep_of(folder, scripts, study=study, **sections)
        config = loaded.config
        self.db: Database = open_database(url)
        record = record_of(loaded, manifest_of(config), folder)
        self.study, _ = open_or_create_study(self.db, "scripted", record)
        self.study.sampler = build_sampler(config.sampler, config.seed, Space.of(config))
        self.driver = Driver.register(self.db, self.study)
        drive = Drive(
            config, folder, self.db, self.study, Audience([]), False, scripted.scripted_train
        )
        self.flights = _Flights(drive, self.driver, pulse=None)  # type: ignore[arg-type]  # asked by EarlyEnd only
        self.writer = self.flights.book.writer
        self.stopped: set[str] = set()
        self.searcher = StudySearcher(
            config, self.flights.source, self.flights.book, concurrency, self.stopped.__contains__
        )

    def reports(self, ray_id: str, epoch: int, best: float = 1.0, **more: Any) -> None:
        """Let a worker report an epoch, its last one if ``more`` has a ``stop_reason``."""
        report = TrialReport(epoch, best, best, epoch, {"val_loss": best}, **more)
        if report.stop_reason is None:
            self.searcher.on_trial_result(ray_id, report.as_result())
        else:
            self.searcher.on_trial_complete(ray_id, report.as_result())
        self.writer.flush()  # as a moment later, when the loop has turned

    def trials(self) -> list[FrozenTrial]:
        """Return the trials as another process sees them."""
        with open_database(self.db.storage.url) as db:
            return optuna.load_study(study_name="scripted", storage=db.storage).trials

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let no statement through to the database."""

        def refuse(*_: Any) -> None:
            raise OperationalError("", {}, ConnectionRefusedError("connection refused"))

        event.listen(self.db.engine, "before_cursor_execute", refuse)
        try:
            yield
        finally:
            event.remove(self.db.engine, "before_cursor_execute", refuse)
            self.writer._next_attempt = 0.0  # a second later


@contextmanager
def lost_answer(of: Any, name: str) -> Iterator[None]:
    """Let a call do its work and fail nevertheless, as if the connection broke on the way back."""
    method: Callable[..., Any] = getattr(of, name)

    def call(*arguments: Any, **more: Any) -> None:
        method(*arguments, **more)
        raise OperationalError("", {}, ConnectionResetError("connection reset"))

    setattr(of, name, call)
    try:
        yield
    finally:
        setattr(of, name, method)
