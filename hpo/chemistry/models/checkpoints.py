"""Files that are there whole or not at all, and whose damage is noticed when they are read.

A checkpoint is one line that names the format, one line of JSON (the header) behind its own
checksum, and the state as ``torch.save`` writes it, whose length and checksum the header holds.
"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import torch

from chemprop_hpo.configs.errors import ChempropHpoError

MAGIC = b"chemprop-hpo checkpoint 2\n"

# How some network file systems say that a folder cannot be synchronised there.
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


class CheckpointError(ChempropHpoError):
    """A checkpoint that is missing, damaged, or of another training."""


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Several processes, on several machines, may write the same file at once: each writes a
    temporary file of its own, ``.<name>.<random>.tmp``, which a kill leaves behind.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    *parts : bytes
        The content, one after the other.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to; ``path`` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_checkpoint(path: Path, header: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    path : Path
    header : mapping
        JSON-able; floats come back bit for bit.
    state : mapping
        Tensors and plain containers, as ``torch.load(weights_only=True)`` takes them.

    Raises
    ------
    OSError
        If it cannot be written; no half file is left.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    first = {"size": len(content), "crc32": zlib.crc32(content), "header": dict(header)}
    line = json.dumps(first).encode()
    write_atomically(path, MAGIC, _checksum(line) + b" " + line + b"\n", content)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a checkpoint's header and its state, with tensors on the CPU.

    Raises
    ------
    CheckpointError
        If there is no such file, it is no checkpoint, or any part of it is damaged.
    """
    with _reading(path) as file:
        first = _read_first(file, path)
        content = file.read()
    if zlib.crc32(content) != first["crc32"]:
        raise CheckpointError(f"{path}: the checkpoint is damaged (its checksum differs)")
    try:
        return first["header"], torch.load(io.BytesIO(content), "cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the checkpoint holds more than weights") from error


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _read_first(file: BinaryIO, path: Path) -> dict[str, Any]:
    if file.readline(len(MAGIC)) != MAGIC:
        raise CheckpointError(f"{path}: not a checkpoint of this version of chemprop-hpo")
    checksum, _, line = file.readline().rstrip(b"\n").partition(b" ")
    if checksum != _checksum(line):
        raise CheckpointError(f"{path}: the checkpoint is damaged (its header)")
    first: dict[str, Any] = json.loads(line)
    expected, actual = file.tell() + first["size"], os.fstat(file.fileno()).st_size
    if actual != expected:
        raise CheckpointError(
            f"{path}: the checkpoint is damaged ({actual} bytes where {expected} were written)"
        )
    return first


def _checksum(line: bytes) -> bytes:
    return b"%08x" % zlib.crc32(line)


def _sync_folder(folder: Path) -> None:
    # Without it a power cut can take the new name away although the content is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
