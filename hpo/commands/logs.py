"""Send the log of this package, and of nothing else, to stderr."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from chemprop_hpo.configs.secrets import mask_text

__all__ = ["hush_optuna", "show_log"]


def show_log(level: str, console: Console) -> None:
    """Show the package's log from ``level`` on, above the live display where there is one.

    Parameters
    ----------
    level : str
        ``DEBUG``, ``INFO`` or ``WARNING``.
    console : rich.console.Console
        The console of the live display.
    """
    handler = _handler(console)
    handler.addFilter(_mask_passwords)
    log = logging.getLogger("chemprop_hpo")
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False


def hush_optuna() -> None:
    """Keep Optuna's own lines off the screen; call it once Optuna is imported."""
    logging.getLogger("optuna").setLevel(logging.WARNING)


def _handler(console: Console) -> logging.Handler:
    if console.is_terminal:
        return RichHandler(
            console=console, show_path=False, markup=False, highlighter=NullHighlighter()
        )
    handler = logging.StreamHandler(console.file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _mask_passwords(record: logging.LogRecord) -> bool:
    record.msg, record.args = mask_text(record.getMessage()), None
    return True
