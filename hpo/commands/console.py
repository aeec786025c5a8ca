"""Where the program writes: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from rich.console import Console, RenderableType

from chemprop_hpo.configs.secrets import mask_text

__all__ = ["errors", "note", "plain_console", "plain_text", "results", "say", "write"]

# No line breaks of a terminal that is not there: tables in a file or a pipe stay whole.
PIPE_WIDTH = 200


def results() -> Console:
    """Return a console on stdout."""
    return _console(stderr=False)


def errors() -> Console:
    """Return a console on stderr, for messages, logs and the live display."""
    return _console(stderr=True)


def say(renderable: RenderableType = "") -> None:
    """Print a table or a line for a person on stdout."""
    results().print(renderable, soft_wrap=isinstance(renderable, str))


def note(line: str) -> None:
    """Print a line for a person on stderr."""
    print(mask_text(line), file=sys.stderr)  # noqa: T201  # the one place that writes notes


def write(text: str) -> None:
    """Write data to stdout as they are."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def plain_text(*renderables: RenderableType) -> str:
    """Return what ``say`` would print, as text for a file."""
    console = plain_console(file=io.StringIO(), width=PIPE_WIDTH)
    with console.capture() as capture:
        console.print(*renderables, sep="\n", soft_wrap=True)
    return capture.get()


def plain_console(**where: Any) -> Console:
    """Return a console that prints names as they are, with no markup read into them."""
    return _PipeConsole(markup=False, emoji=False, highlight=False, **where)


class _PipeConsole(Console):
    """Rich leaves the whole program when a pipe closes; a sweep must not end by that."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return plain_console(stderr=stderr, width=width)
