"""A Ray of this process's own, of which nothing is left when it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import site
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray._private.node
import ray._private.services
import ray._private.utils
import ray._private.worker

import chemprop_hpo
from chemprop_hpo.configs.errors import SweepFailedError
from chemprop_hpo.hpo.trial.ray_processes import end_ray, ray_is_gone, started_apart
from chemprop_hpo.hpo.trial.replaced import environment, replaced
from chemprop_hpo.hpo.trial.temporary import note_session, temporary_folder

__all__ = ["Ahead", "as_guest", "is_private", "private_ray", "unheard"]

log = logging.getLogger(__name__)

START_ATTEMPTS = 5
START_WITHIN_S = 90.0
ASK_EVERY_S = 0.2
UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")
# Where it is installed, as with Jupyter, each process of Ray's takes two seconds on importing
# jsonschema to compile a grammar of web addresses, which nothing in Ray asks for.
SLOW_AND_OPTIONAL = "rfc3987_syntax"
PRELOADED = "chemprop_hpo.hpo.trial.preloaded"
WORKERS_AHEAD = "--num_prestart_python_workers"

_is_private = False


@dataclass(frozen=True)
class Ahead:
    """Workers that a private Ray starts at once, each of which imports what trains.

    Parameters
    ----------
    workers : int
        How many; no more start than there are CPUs.
    threads : int
        How many a worker computes with.
    """

    workers: int
    threads: int


@contextlib.contextmanager
def private_ray(ahead: Ahead | None = None) -> Iterator[None]:
    """Be connected to a new local Ray; end it, however this is left.

    Parameters
    ----------
    ahead : Ahead, optional
        Workers that start at once. Tune's trials take them only if their environment is Ray's
        own.

    Raises
    ------
    SweepFailedError
        If it does not start.
    """
    global _is_private
    with temporary_folder() as folder:
        try:
            _start(folder, ahead)
            _is_private = True
            yield
        finally:
            _is_private = False
            _stop()


def is_private() -> bool:
    """Whether this process is connected to a Ray of its own."""
    return _is_private


def as_guest() -> contextlib.AbstractContextManager[None]:
    """Keep Ray from handling signals, and from writing down the command line.

    It would keep the latter in its table of jobs, a database's password included.
    """
    return replaced(
        ray._private.utils,
        get_entrypoint_name=lambda: "chemprop-hpo",
        set_sigterm_handler=lambda handler: None,
    )


def unheard() -> contextlib.AbstractContextManager[None]:
    """Keep Ray from printing what its processes have to say, among the results of the sweep."""

    def note(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            log.debug("Ray: %s", line)

    return replaced(ray._private.worker, print_to_stdstream=note)


def _start(folder: Path, ahead: Ahead | None) -> None:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _start_once(folder, ahead)
        except Exception as error:  # Ray raises many kinds when its start takes too long
            _stop()
            log.warning("Ray did not start (attempt %d of %d): %s", attempt, START_ATTEMPTS, error)
            if attempt == START_ATTEMPTS:
                raise SweepFailedError(f"Ray did not start on this machine: {error}") from error


def _start_once(folder: Path, ahead: Ahead | None) -> None:
    apart = started_apart(lambda leader: note_session(folder, leader))
    with as_guest(), _lean(), _quick_to_import(folder), _with_workers(ahead), _patient(), apart:
        # Without `local`, Ray joins whatever cluster it finds.
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _temp_dir=str(folder),
        )


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    # They scale clusters and show the workers' output and a dashboard, none of which is wanted
    # here, and take as much time to start as all the rest.
    nothing = dict.fromkeys(UNUSED, lambda node, **options: None)
    # So is Ray's agent that collects metrics. As if its libraries were not installed, which
    # `ray[tune]` does not ask for: a raylet gives up if it takes 15 s to load them.
    minimal = {"get_dashboard_dependency_error": lambda: ImportError("not wanted")}
    with (
        replaced(ray._private.node.Node, **nothing),
        replaced(ray._private.utils, **minimal),
    ):
        yield


@contextlib.contextmanager
def _with_workers(ahead: Ahead | None) -> Iterator[None]:
    """Let the raylet start so many workers at once, where Ray would start one for each CPU.

    What these find in their environment is not put into this process's, which may import torch
    meanwhile.
    """
    services: Any = ray._private.services
    start: Any = services.start_ray_process
    most = ahead.workers if ahead else 0
    variables = _of_workers(ahead) if ahead else {}

    def start_ray_process(
        command: list[str], *given: Any, env_updates: Mapping[str, str] | None = None, **more: Any
    ) -> Any:
        changed = [_at_most(most, word) for word in command]
        if any(word.startswith(WORKERS_AHEAD) for word in command):  # it is the raylet's
            env_updates = {**(env_updates or {}), **variables}
        return start(changed, *given, env_updates=env_updates, **more)

    with replaced(services, start_ray_process=start_ray_process):
        yield


def _of_workers(ahead: Ahead) -> dict[str, str]:
    # Ray sets OMP_NUM_THREADS when an actor is made, which is too late for what is imported before.
    threads = os.environ.get("OMP_NUM_THREADS", str(ahead.threads))
    found = {"RAY_preload_python_modules": PRELOADED, "OMP_NUM_THREADS": threads}
    package = str(Path(chemprop_hpo.__file__).parents[1])
    if package in map(os.path.abspath, sys.path) and package not in site.getsitepackages():
        # Workers are told this process's path when they have imported already.
        path = os.environ.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join([*([path] if path else []), package])
    return found


def _at_most(most: int, word: str) -> str:
    option, is_given, cpus = word.partition("=")
    return f"{option}={min(most, int(cpus))}" if is_given and option == WORKERS_AHEAD else word


@contextlib.contextmanager
def _quick_to_import(folder: Path) -> Iterator[None]:
    """Let processes that start meanwhile, and theirs, take an optional library for missing."""
    stand_ins = folder / "missing"
    stand_ins.mkdir(exist_ok=True)
    (stand_ins / f"{SLOW_AND_OPTIONAL}.py").write_text("raise ImportError('left out')\n")
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(stand_ins), *([before] if before else [])])
    with environment({"PYTHONPATH": path}):
        yield


def _patient() -> contextlib.AbstractContextManager[None]:
    # Ray asks without a pause whether its node is there, and gives up after 30 s, which do not
    # suffice where much else runs.
    services = ray._private.services
    ask: Any = services.get_node

    def get_node(*which: Any) -> Any:
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            try:
                return ask(*which)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
            if ray_is_gone():
                raise ConnectionError("one of its processes has ended")
            time.sleep(ASK_EVERY_S)

    return replaced(services, get_node=get_node)


def _stop() -> None:
    try:
        if ray_is_gone():
            end_ray()  # the rest would wait for what is gone
        ray.shutdown()
    finally:
        end_ray()
