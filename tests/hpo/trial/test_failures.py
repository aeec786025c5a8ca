"""Failures of a training, told apart by class where there is one and by text where there is none."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from chemprop_hpo.hpo.chemistry.training.train import CheckpointError
from chemprop_hpo.hpo.trial.failures import is_host_memory_kill, is_out_of_memory, is_unwritable

FAR_TOO_MUCH = 2**52

# What Ray 2.60 writes of a worker that its memory monitor killed, and of one that had a SIGKILL.
KILLED_BY_RAY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node "
    "(IP: 192.0.2.2, ID: a2bb300ae7bd) was 2.98GB used / 23.54GB limit (0.126391)\n"
    "OOM kill reason: Memory usage 3177144320B exceeded threshold of 3159564288B\n"
)
DIED = (
    "The actor died unexpectedly before finishing this task.\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory "
    "usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to "
    "SIGSEGV or another unexpected error.\n"
)


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(FAR_TOO_MUCH),
        lambda: np.empty(FAR_TOO_MUCH),
        lambda: bytearray(FAR_TOO_MUCH),
    ],
)
def test_every_allocation_that_fails_on_the_host_is_out_of_memory(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ...", 2),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_way_in_which_a_gpu_or_a_library_says_so_is_out_of_memory(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_other_errors_are_not_out_of_memory(error):
    assert not is_out_of_memory(error)


def test_an_error_that_followed_from_a_failed_allocation_is_out_of_memory():
    wrapped = CheckpointError("no model can be made of it")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)
    during = RuntimeError("the teardown failed")
    during.__context__ = MemoryError()
    during.__context__.__context__ = during
    assert is_out_of_memory(during)


@pytest.mark.parametrize(
    ("number", "for_all"),
    [("ENOSPC", True), ("EDQUOT", True), ("EROFS", True), ("EIO", True), ("ENOENT", False)],
)
def test_what_stops_the_checkpoints_of_all_trials_is_told_apart(number, for_all):
    assert is_unwritable(OSError(getattr(errno, number), "")) == for_all


def test_only_rays_own_word_says_that_a_worker_was_killed_for_memory():
    assert is_host_memory_kill(KILLED_BY_RAY)
    assert is_host_memory_kill(
        f"Failure # 1 (occurred at noon)\n{DIED}Failure # 2 (occurred at one)\n{KILLED_BY_RAY}"
    )
    assert not is_host_memory_kill(DIED)
    assert not is_host_memory_kill("")
    assert not is_host_memory_kill(
        f"Failure # 1 (occurred at noon)\n{KILLED_BY_RAY}Failure # 2 (occurred at one)\n{DIED}"
    )
