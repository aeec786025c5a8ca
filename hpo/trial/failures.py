"""Tell apart the ways in which a training can fail."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch

__all__ = ["is_host_memory_kill", "is_out_of_memory", "is_unwritable"]

# Of a full disk, a quota, a read-only or vanished file system, a folder that was taken away: what
# stops one trial's checkpoint stops every trial's.
UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ESTALE, errno.ENOTDIR, errno.ENOTCONN),
}

# torch has a class for a GPU's own allocations only. A host's, and those that a library of CUDA's
# makes for itself (or that fail outside the caching allocator), are plain RuntimeErrors that only
# their texts tell apart.
MEMORY_TEXTS = (
    "out of memory",  # CUDA error: out of memory
    "can't allocate memory",  # DefaultCPUAllocator
    "cannot allocate memory",
    "not enough memory",
    "_status_alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, and cuDNN's, cuSPARSE's
    "cublas_status_not_initialized",  # the same, where its own first allocation failed
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's or the host's memory did not suffice, here or in what led to the error."""
    return any(_is_memory_error(link) for link in _chain(error))


def is_unwritable(error: BaseException) -> bool:
    """Whether a checkpoint could not be written for a reason that other trials would meet too."""
    return isinstance(error, OSError) and error.errno in UNWRITABLE


def is_host_memory_kill(text: str) -> bool:
    """Whether Ray killed a worker because its node was running low on memory.

    What Ray writes of any other death names the kernel's killer too, as one of several possible
    causes; that is no evidence.

    Parameters
    ----------
    text : str
        What Ray or Tune wrote of the worker's failures, the last one last.
    """
    _, _, last = text.rpartition("Failure # ")  # Tune's file has one such line a failure
    return "killed due to the node running low on memory" in last


def _is_memory_error(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(known in text for known in MEMORY_TEXTS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised from or during."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
