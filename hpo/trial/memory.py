"""Give memory back between the trials of a worker, and keep the collector off what stays."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

__all__ = ["await_free_gpu", "release_memory", "spare_from_collection", "spared_meanwhile"]

STEADY_S, PATIENCE_S, LOOK_EVERY_S = 5.0, 45.0, 0.2
"""Longer than a worker may take to stop."""

_PYTHONS_OWN = 10_000
"""Python 3.12 sets aside some hundred objects of its own; who sets aside on purpose, many more."""


def spare_from_collection() -> None:
    """Let :func:`release_memory` pass over all that is there now.

    Torch, Lightning, Chemprop and Ray make some 700,000 objects that live as long as the worker;
    looking at each of them takes longer than many an epoch.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def spared_meanwhile() -> Iterator[None]:
    """Let Python's collector pass over all that is there now, until this context ends.

    A driver, too, has some 700,000 objects that stay; looking at each of them takes half a second
    or more, in which no report is heard. It is done once, at the beginning, so that what nobody
    refers to any more, such as a notebook's earlier model, does not stay as well. Where somebody
    has set objects aside before, nothing changes: they could not be told apart at the end.
    """
    if gc.get_freeze_count() > _PYTHONS_OWN:
        yield
        return
    spare_from_collection()
    try:
        yield
    finally:
        gc.unfreeze()


def release_memory() -> None:
    """Free what an ended training left behind, also for other processes on the same GPU.

    Model and trainer refer to each other, so that they outlive the training until Python's
    collector comes by. What is free then the C library keeps for itself, and torch a GPU's.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch gives it no types
        torch.cuda.empty_cache()


def await_free_gpu() -> None:
    """Wait until other processes have given back what they held of this one's GPU.

    A worker whose trial was stopped writes a checkpoint before it lets go. What is free is looked
    at until it has not changed for some seconds.
    """
    if not torch.cuda.is_available():
        return
    deadline = time.monotonic() + PATIENCE_S
    free, since = _free_on_gpu(), time.monotonic()
    while time.monotonic() < min(deadline, since + STEADY_S):
        time.sleep(LOOK_EVERY_S)
        now = _free_on_gpu()
        if now is None or now != free:
            free, since = now, time.monotonic()


def _free_on_gpu() -> int | None:
    """Return the bytes that are free; None where they do not suffice for asking."""
    try:
        return int(torch.cuda.mem_get_info()[0])
    except RuntimeError:
        return None
