"""What a driver is asked to train, and what its training can fail for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chemprop_hpo.configs.errors import ChempropHpoError, DiskFullError, SweepFailedError
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.ensembles.members.jobs import MemberJob
from chemprop_hpo.storage.database import Database
from chemprop_hpo.storage.members import MemberRecord, read_members
from chemprop_hpo.storage.outages import is_full, is_outage
from chemprop_hpo.storage.studies import Study

__all__ = ["Assignment", "TrainingInterruptedError"]


class TrainingInterruptedError(SweepFailedError):
    """A signal ended the training of members; all of them can be gone on with.

    Parameters
    ----------
    number : int
        The signal; the exit code is 128 more.
    how_to_go_on : str
        What to tell a person.
    """

    def __init__(self, number: int, how_to_go_on: str) -> None:
        self.signal = number
        self.exit_code = 128 + number
        super().__init__(f"interrupted; {how_to_go_on}")


@dataclass(frozen=True)
class Assignment:
    """Members to train, and where; as for `train_members` beside it."""

    db: Database
    study: Study
    config: SweepConfig
    folder: Path
    jobs: Sequence[MemberJob]
    how_to_go_on: str

    def read(self) -> list[MemberRecord]:
        """Return all members as they stand."""
        return read_members(self.db, self.study, [job.key for job in self.jobs])

    # ------------------------------------------------------------------ what can go wrong

    def no_room(self, why: str) -> DiskFullError:
        """Return the error of a place that cannot be written to."""
        return DiskFullError(f"{why}; put that right; {self.how_to_go_on}")

    def failed(self, why: str) -> SweepFailedError:
        """Return the error of what is gone."""
        return SweepFailedError(f"{why}; {self.how_to_go_on}")

    def failure_of(self, error: Exception) -> ChempropHpoError:
        """Return an error as it is, or what it means where the database went away or is full."""
        if isinstance(error, ChempropHpoError):
            return error
        if is_full(error):
            return self.no_room(str(error.__cause__ or error).splitlines()[0])
        if is_outage(error):
            return self.failed(f"{self.db.masked_url} is away")
        raise error
