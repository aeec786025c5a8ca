"""Keep MLflow from drawing progress bars over what a command says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_progress_bars"]

_BARS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Copy artifacts in silence, unless the user asked for the bars."""
    if _BARS in os.environ:
        yield
        return
    os.environ[_BARS] = "false"
    try:
        yield
    finally:
        del os.environ[_BARS]
