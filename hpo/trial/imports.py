"""Import what takes seconds: while something else goes on, and without looking for garbage."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["imported_meanwhile", "nothing_collected"]


@contextmanager
def imported_meanwhile(module: str) -> Iterator[Callable[[], None]]:
    """Import a module in a thread while entered.

    Parameters
    ----------
    module : str
        Its full name.

    Yields
    ------
    callable
        Waits until all is imported. It raises what went wrong: whoever imports a library of
        which one part is missing once more may be told something else.
    """
    errors: list[Exception] = []
    # Not a daemon: an interpreter that ends while a library is being initialised may crash.
    thread = threading.Thread(target=_import, args=(module, errors), name="imports")

    def wait() -> None:
        thread.join()
        for error in errors:
            raise error

    with nothing_collected():
        thread.start()
        yield wait


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


def _import(module: str, errors: list[Exception]) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # raised where it is waited for
        errors.append(error)
