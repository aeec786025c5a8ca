"""Every error that a user can meet, and the exit code that it ends with."""

from __future__ import annotations

__all__ = [
    "ChempropHpoError",
    "ConfigError",
    "DataError",
    "DiskFullError",
    "PromotionConflictError",
    "ResourceError",
    "SpaceError",
    "StorageError",
    "StudyMismatchError",
    "SweepFailedError",
    "TrackingError",
    "UnknownStudyError",
    "UsageError",
]


class ChempropHpoError(Exception):
    """Base of all errors of this package.

    The message is for the person at the keyboard: what, where, what to do.
    ``exit_code`` is what the command ends with: 2 for the user's mistake, 1 for a failure.

    The hierarchy::

        ChempropHpoError
        ├── UsageError (2)
        │   ├── ConfigError         a file or an override is wrong
        │   │   └── SpaceError      a search space that cannot be honoured
        │   ├── DataError           a table cannot be used as it is
        │   ├── ResourceError       a trial would wait for ever
        │   ├── DiskFullError       checkpoints or database cannot be written
        │   ├── UnknownStudyError   no such study in that storage
        │   ├── StudyMismatchError  the study holds other data, metric or direction
        │   ├── StorageError        the database cannot be reached or used
        │   └── TrackingError       the MLflow server cannot be reached
        ├── PromotionConflictError (1)  another moved the alias since the decision was made
        └── SweepFailedError (1)    the sweep began and could not go on
    """

    exit_code = 1


class UsageError(ChempropHpoError):
    """Something that the user can put right."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that cannot be used, with all its problems.

    Parameters
    ----------
    problems : str
        One or more lines, each with its place, what is wrong, and what to do.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class SpaceError(ConfigError):
    """A search space that the sampler cannot honour."""


class DataError(UsageError):
    """A table of molecules that cannot be used as it is."""


class ResourceError(UsageError):
    """Resources that no node has, so that a trial would wait for ever."""


class StorageError(UsageError):
    """A database that cannot be reached or used."""


class DiskFullError(UsageError):
    """No room left, or no right to write, where checkpoints or the database are."""


class UnknownStudyError(UsageError):
    """A study that is not in the storage."""


class StudyMismatchError(UsageError):
    """A study that exists with another metric, direction, data or space."""


class TrackingError(UsageError):
    """A tracking server that cannot be reached."""


class SweepFailedError(ChempropHpoError):
    """A sweep that began and could not go on; what was finished is kept."""


class PromotionConflictError(ChempropHpoError):
    """An alias that is no longer where the decision found it; it was not overwritten.

    Not the user's mistake: the same command may succeed after another decision.
    """
