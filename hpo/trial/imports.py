"""Import what takes seconds: while something else goes on, and without looking for garbage."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["imported_meanwhile", "nothing_collected"]


@contextmanager
def imported_meanwhile(module: str) -> Iterator[None]:
    """Import a module in a thread while entered; whoever imports it then waits for the rest.

    Parameters
    ----------
    module : str
        Its full name. What is wrong with it is said to whoever imports it then.
    """
    thread = threading.Thread(target=_import, args=(module,), name="imports", daemon=True)
    with nothing_collected():
        thread.start()
        yield


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Pause the collection of garbage.

    Modules hold almost all objects that they make; looking through these again and again takes a
    fifth of the time that importing takes.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _import(module: str) -> None:
    with suppress(Exception):
        importlib.import_module(module)
