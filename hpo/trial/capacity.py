"""Whether a trial fits onto the nodes at hand, and how many fit at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.configs.schema import ResourcesConfig

__all__ = ["Node", "Placement", "place"]


@dataclass(frozen=True)
class Node:
    """A machine of the cluster; ``cpus`` and ``gpus`` as Ray counts them."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Placement:
    """How many trials run at once, and what to tell the user about it."""

    concurrency: int
    lines: tuple[str, ...]


def place(resources: ResourcesConfig, nodes: Sequence[Node]) -> Placement:
    """Return how many trials fit at once.

    Parameters
    ----------
    resources : ResourcesConfig
        What one trial takes.
    nodes : sequence of Node
        The cluster.

    Raises
    ------
    ResourceError
        If not even one trial fits on any node: it would wait for ever.
    """
    fits = sum(_fits(resources, node) for node in nodes)
    if fits == 0:
        raise ResourceError(_why_none_fits(resources, nodes))
    wanted = resources.max_concurrent_trials
    concurrency = min(fits, wanted) if wanted else fits
    return Placement(concurrency, _lines(resources, nodes, concurrency))


def _fits(resources: ResourcesConfig, node: Node) -> int:
    by_cpu = int(node.cpus / resources.cpus_per_trial + 1e-9)
    if resources.gpus_per_trial == 0:
        return by_cpu
    return min(by_cpu, _gpu_slots(resources.gpus_per_trial, node.gpus))


def _gpu_slots(share: float, gpus: float) -> int:
    if share < 1:  # a fraction does not straddle two GPUs
        return int(1 / share + 1e-9) * int(gpus)
    return int(gpus / share + 1e-9)


def _why_none_fits(resources: ResourcesConfig, nodes: Sequence[Node]) -> str:
    most_gpus = max((n.gpus for n in nodes), default=0)
    most_cpus = max((n.cpus for n in nodes), default=0)
    if resources.gpus_per_trial > 0 and most_gpus == 0:
        return (
            f"resources.gpus_per_trial is {resources.gpus_per_trial:g} and no node has a GPU: "
            "a trial would wait for ever; set resources.gpus_per_trial=0"
        )
    if resources.gpus_per_trial > most_gpus:
        return (
            f"resources.gpus_per_trial is {resources.gpus_per_trial:g} and the largest node has "
            f"{most_gpus:g} GPUs; set resources.gpus_per_trial={most_gpus:g} or less"
        )
    return (
        f"resources.cpus_per_trial is {resources.cpus_per_trial} and the largest node has "
        f"{most_cpus:g} CPUs; set resources.cpus_per_trial={int(most_cpus)} or less"
    )


def _lines(resources: ResourcesConfig, nodes: Sequence[Node], concurrency: int) -> tuple[str, ...]:
    cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
    share = f" and {resources.gpus_per_trial:g} GPUs" if resources.gpus_per_trial else ""
    have = f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}, {cpus:g} CPUs, {gpus:g} GPUs"
    each = f"{resources.cpus_per_trial} CPUs{share}"
    lines = [f"{have}; {each} a trial; {concurrency} at once"]
    wanted = resources.max_concurrent_trials
    if wanted and concurrency < wanted:
        lines.append(f"{wanted} trials at once were asked for; {concurrency} fit")
    return tuple(lines)
