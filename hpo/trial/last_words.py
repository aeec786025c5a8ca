"""Say how to go on even where this process is killed, or ended by a library."""

from __future__ import annotations

import contextlib
import subprocess
from types import TracebackType
from typing import Self

__all__ = ["LastWords"]

# Reads until the other end of its input closes, which the kernel does for a process that dies.
SAY_UNLESS_TAKEN_BACK = 'trap "" HUP INT TERM; read -r taken_back || printf "\\n%s\\n" "$0" >&2'
WAIT_S = 2.0


class LastWords:
    """Has a line written to stderr if this process ends while it is entered.

    A process that is killed by the system, for want of memory say, or by Ray's libraries, which
    end it when they lose their connection, says nothing itself.

    Parameters
    ----------
    line : str
        What is written.
    """

    def __init__(self, line: str) -> None:
        self._line = line
        self._speaker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # it is a courtesy
            self._speaker = subprocess.Popen(
                ["/bin/sh", "-c", SAY_UNLESS_TAKEN_BACK, self._line],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.take_back()

    def take_back(self) -> None:
        """Say nothing."""
        speaker, self._speaker = self._speaker, None
        if speaker is not None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                speaker.communicate(b"taken back\n", timeout=WAIT_S)
