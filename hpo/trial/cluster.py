"""Where trials run: a private local Ray, or a cluster that the user names."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ray

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.hpo.trial.capacity import Node
from chemprop_hpo.hpo.trial.joined_ray import KNOCK_S, watched_cluster
from chemprop_hpo.hpo.trial.private_ray import Ahead, as_guest, private_ray, unheard
from chemprop_hpo.hpo.trial.temporary import clear_leftovers

__all__ = [
    "connected",
    "cpus_here",
    "local_nodes",
    "nodes",
    "require_shared_folder",
    "warn_where_disk_is_memory",
]

log = logging.getLogger(__name__)

RAY_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray runs workers at nice 15, which halves them beside anything else on the machine.
    "RAY_worker_niceness": "0",
    # As Tune would tell each worker of its trials: Lightning must not fork there.
    "PL_DISABLE_FORK": "1",
    # A raylet gives up where its own processes take longer to start; 30 s do not always suffice.
    "RAY_agent_register_timeout_ms": "90000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that fails before its first report has no metric, and must not end the sweep.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Signals are handled by the sweep, which settles the trials in flight.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000",
}


@contextlib.contextmanager
def connected(address: str | None, ahead: Ahead | None = None) -> Iterator[None]:
    """Be connected to Ray; leave nothing of a private one running afterwards.

    What a sweep that was killed has left on this machine is ended and removed first.

    Parameters
    ----------
    address : str or None
        An existing cluster (``auto``, ``host:port``), or ``None`` for a private local one. A
        process that is connected already stays so.
    ahead : Ahead, optional
        Workers that a private one starts at once.

    Raises
    ------
    ResourceError
        If there is no cluster at ``address``.
    SweepFailedError
        If a local one does not start.
    """
    os.environ.update({k: v for k, v in RAY_SETTINGS.items() if k not in os.environ})
    _quiet()
    if ray.is_initialized():
        yield
        return
    clear_leftovers()
    with unheard(), private_ray(ahead) if address is None else _joined(address):
        _quiet()
        yield


def _quiet() -> None:
    for name in ("ray", "ray.tune", "ray.train", "ray.air", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    _join(address)
    try:
        with watched_cluster():
            yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    if address.startswith("ray://"):
        raise ResourceError(
            f"ray.address {address}: a sweep does not run through Ray's client; run it on a node "
            "of the cluster with ray.address=auto, or give the address of its head as HOST:PORT"
        )
    _refuse_silent(address)
    try:
        with as_guest():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _refuse_silent(address: str) -> None:
    # Ray would knock at a closed port for minutes.
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ResourceError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ResourceError(
        f"no Ray cluster at {address} ({first}); start one with `ray start --head`, "
        "or leave out ray.address for a private local one"
    )


def nodes() -> list[Node]:
    """Return the live nodes of the cluster that this process is connected to."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(r.get("CPU", 0), r.get("GPU", 0)) for r in alive]


def local_nodes() -> list[Node]:
    """Return this machine as Ray would count it, without starting Ray."""
    import torch  # slow; a joined cluster is not asked

    return [replace(cpus_here(), gpus=float(torch.cuda.device_count()))]


def cpus_here() -> Node:
    """Return this machine without its GPUs."""
    return Node(float(os.cpu_count() or 1), 0.0)


def warn_where_disk_is_memory(nbytes: int) -> None:
    """Say so where data are larger than a node's object store, and lie on its disk then.

    Parameters
    ----------
    nbytes : int
        Size of the data that all workers share.
    """
    stores = [n["Resources"].get("object_store_memory", 0) for n in ray.nodes() if n["Alive"]]
    if nbytes > min(stores):
        log.warning(
            "the data take %s MB and Ray's object store holds %s MB: they are kept in files on "
            "the disk, which is slower; a machine with more shared memory (/dev/shm) is faster",
            f"{nbytes / 1e6:,.0f}",
            f"{min(stores) / 1e6:,.0f}",
        )


def require_shared_folder(folder: Path) -> None:
    """Check that every node sees the study's folder; a moved trial needs its checkpoint.

    Raises
    ------
    ResourceError
        Naming the nodes that do not see it.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) < 2:
        return
    token = folder / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        blind = [n["NodeName"] for n in alive if not _sees(n["NodeID"], token)]
    finally:
        token.unlink(missing_ok=True)
    if blind:
        raise ResourceError(
            f"the study's folder {folder} is not seen by {', '.join(blind)}; set study.folder to "
            "one that all nodes share"
        )


def _sees(node_id: str, token: Path) -> bool:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    look = ray.remote(os.path.exists).options(num_cpus=0, scheduling_strategy=there)
    return bool(ray.get(look.remote(str(token))))
