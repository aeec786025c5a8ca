"""Ray's memory monitor, the real one, and what Tune makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chemprop_hpo.hpo.trial.failures import is_host_memory_kill

SWEEP = """
import os, sys, tempfile
from contextlib import nullcontext
from pathlib import Path
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

MARGIN = 1500 * 2**20
os.environ |= {
    "RAY_memory_usage_threshold": str((get_used_memory() + MARGIN) / get_system_memory()),
    "RAY_memory_monitor_refresh_ms": "50",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}

import ray
from ray import tune
from chemprop_hpo.hpo.trial.memory_kills import memory_kills_as_deaths

class Greedy(tune.Trainable):
    def step(self):
        hoard = []
        while len(hoard) < 60:
            hoard.append(bytes(50 * 2**20).replace(b"\\0", b"1"))
        return {"done": True}

for attempt in range(5):  # a raylet may need more than its 30 seconds where much else runs
    try:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
                 object_store_memory=80 * 2**20)
        break
    except Exception:
        ray.shutdown()
if not ray.is_initialized():
    sys.exit("Ray did not start")
folder = tempfile.mkdtemp(dir=sys.argv[1])
with memory_kills_as_deaths():
    config = tune.RunConfig(storage_path=folder, verbose=0)
    tune.Tuner(Greedy, run_config=config).fit()
ray.shutdown()
print("the sweep went on")
"""


@pytest.mark.timeout(600)
def test_a_sweep_goes_on_when_rays_memory_monitor_kills_a_worker(tmp_path: Path) -> None:
    output = tmp_path / "output"
    # No pipe: Ray's own processes would hold it open for a while after the sweep.
    with output.open("w") as file:
        program = [sys.executable, "-c", SWEEP, str(tmp_path)]
        subprocess.run(program, stdout=file, stderr=file, timeout=550, check=False)
    assert "the sweep went on" in output.read_text(), output.read_text()
    (written,) = tmp_path.rglob("error.txt")
    assert is_host_memory_kill(written.read_text())
    assert "GB limit" in written.read_text().splitlines()[-1]
