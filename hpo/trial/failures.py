"""Tell apart the ways in which a training can fail."""

from __future__ import annotations

import errno

import torch

__all__ = ["is_disk_full", "is_out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's or the host's memory did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a CPU torch raises a plain RuntimeError that only its text tells apart.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room (or of quota)."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
