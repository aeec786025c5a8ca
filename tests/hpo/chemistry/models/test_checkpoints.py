import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.checkpoints import (
    CheckpointError,
    read_checkpoint,
    write_atomically,
    write_checkpoint,
)

HEADER = {"report": {"value": 0.1 + 0.2, "metrics": {"val_loss": 1e-300}}}
STATE = {"weights": {"a": torch.arange(1000.0)}, "schedule": {"last_epoch": 3}, "none": None}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "epoch.ckpt"
    write_checkpoint(path, HEADER, STATE)
    return path


@contextmanager
def full_disk():
    """Let no file of this process grow beyond one KiB; pytest's own output is one of them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_comes_back_as_it_was(checkpoint):
    header, state = read_checkpoint(checkpoint)
    assert header == HEADER
    assert torch.equal(state["weights"]["a"], STATE["weights"]["a"])
    assert (state["schedule"], state["none"]) == ({"last_epoch": 3}, None)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_noticed(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"epoch\.ckpt"):
        read_checkpoint(checkpoint)


def test_a_flipped_bit_is_noticed_wherever_it_is(checkpoint):
    whole = checkpoint.read_bytes()
    for place in (*range(200), *range(200, len(whole), 97), len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        checkpoint.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"epoch\.ckpt"):
            read_checkpoint(checkpoint)


def test_a_file_that_opens_and_cannot_be_read_is_a_clear_error():
    path = Path("/proc/self/mem")  # nothing is mapped at its beginning
    if not path.exists():
        pytest.skip("needs Linux")
    with pytest.raises(CheckpointError, match=r"mem: cannot be read \(Input/output error\)"):
        read_checkpoint(path)


def test_a_missing_file_and_a_foreign_one_are_clear_errors(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        read_checkpoint(tmp_path / "absent.ckpt")
    torch.save({"a": 1}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "foreign.pt")


def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path):
    path = tmp_path / "epoch.ckpt"
    write_atomically(path, b"old")
    with full_disk(), pytest.raises(OSError, match="large"):
        write_checkpoint(path, HEADER, STATE)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["epoch.ckpt"]


def test_a_checkpoint_runs_no_code_when_it_is_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("trapped",)

    write_checkpoint(tmp_path / "trap.ckpt", {}, {"trap": Trap()})
    with pytest.raises(CheckpointError, match=r"trap\.ckpt"):
        read_checkpoint(tmp_path / "trap.ckpt")
