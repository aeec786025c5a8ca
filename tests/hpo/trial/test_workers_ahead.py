"""Workers that a private Ray starts ahead have imported what trains, and trials run on them."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import ray._private.worker

from chemprop_hpo.hpo.sweep import start_sweep
from chemprop_hpo.hpo.trial.cluster import connected
from chemprop_hpo.hpo.trial.imports import imported_meanwhile
from chemprop_hpo.hpo.trial.private_ray import Ahead
from tests.hpo import scripted
from tests.hpo.scripted import sweep_of


def workers_of(raylet: int) -> set[int]:
    """Return the processes of a raylet that are not its agents."""
    below = psutil.Process(raylet).children()
    return {p.pid for p in below if "Agent" not in " ".join(p.cmdline()).replace("_agent", "Agent")}


@pytest.mark.parametrize("ahead", [None, Ahead(1, threads=2)])
def test_as_many_start_as_were_asked_for(
    ahead: Ahead | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    init, threads_here = ray.init, []

    def look_and_init(**options: Any) -> Any:
        threads_here.append(os.environ.get("OMP_NUM_THREADS"))
        return init(**options)

    monkeypatch.setattr(ray, "init", look_and_init)
    with connected(None, ahead):
        (raylet,) = ray._private.worker._global_node.all_processes["raylet"]
        wanted = ahead.workers if ahead else 0
        deadline = time.monotonic() + 60
        while len(workers_of(raylet.process.pid)) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)  # for any that should not come
        before = workers_of(raylet.process.pid)
        assert len(before) == wanted

        class Looks:
            def see(self) -> tuple[int, bool, bool, str | None, str | None]:
                torch: Any = sys.modules.get("torch")
                return (
                    os.getpid(),
                    "chemprop_hpo.hpo.trial.trainable" in sys.modules,
                    torch is not None and torch.cuda.is_initialized(),
                    os.environ.get("OMP_NUM_THREADS"),
                    os.environ.get("PL_DISABLE_FORK"),
                )

        pid, *seen = ray.get(ray.remote(num_cpus=1)(Looks).remote().see.remote())
        assert seen == ([True, False, "2", "1"] if ahead else [False, False, "1", "1"])
        assert {pid} == before or not before
    assert threads_here == [None]  # this process imports torch meanwhile


def test_what_is_missing_is_said_by_whoever_waits_for_it() -> None:
    with imported_meanwhile("chemprop_hpo.is_not_there") as wait:
        assert not gc.isenabled()
        with pytest.raises(ModuleNotFoundError, match="is_not_there"):
            wait()
    assert gc.isenabled()


def test_trials_need_no_other_workers(tmp_path: Path) -> None:
    loaded = sweep_of(tmp_path, [scripted.GOOD] * 3, resources={"max_concurrent_trials": 1})
    start_sweep(loaded, train=_noting(tmp_path / "seen"))
    seen = (tmp_path / "seen").read_text().splitlines()
    assert len(seen) == 3
    assert len(set(seen)) == 1
    (workers,) = set(seen)
    assert len(workers.split()) == 1


def _noting(file: Path) -> Any:
    def train(*given: Any, **more: Any) -> Any:
        with file.open("a") as lines:
            lines.write(" ".join(map(str, sorted(workers_of(os.getppid())))) + "\n")
        return scripted.scripted_train(*given, **more)

    return train
