"""Placement: a trial that fits nowhere is an error with its mend, never a wait without end."""

from __future__ import annotations

import pytest

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.configs.schema import ResourcesConfig
from chemprop_hpo.hpo.trial.capacity import Node, place

LAPTOP = [Node(cpus=2, gpus=0)]
GPU_BOX = [Node(cpus=16, gpus=2)]


def resources(**values: float) -> ResourcesConfig:
    return ResourcesConfig.model_validate(values)


def test_a_gpu_share_without_a_gpu_names_the_mend() -> None:
    with pytest.raises(ResourceError, match=r"set resources\.gpus_per_trial=0"):
        place(resources(gpus_per_trial=0.25), LAPTOP)


def test_more_cpus_than_any_node_has_names_the_most() -> None:
    with pytest.raises(ResourceError, match=r"set resources\.cpus_per_trial=2 or less"):
        place(resources(cpus_per_trial=3), LAPTOP * 4)


def test_more_gpus_than_any_node_has_names_the_most() -> None:
    with pytest.raises(ResourceError, match="largest node has 2 GPUs"):
        place(resources(gpus_per_trial=3), GPU_BOX)


def test_four_trials_share_a_gpu_and_a_share_straddles_no_two() -> None:
    assert place(resources(gpus_per_trial=0.25), [Node(16, 1)]).concurrency == 4
    assert place(resources(gpus_per_trial=0.4), GPU_BOX).concurrency == 4


def test_cpus_bound_what_gpus_would_allow() -> None:
    share = resources(gpus_per_trial=0.25, cpus_per_trial=8)
    assert place(share, GPU_BOX).concurrency == 2


def test_fewer_at_once_than_asked_for_is_said_aloud() -> None:
    placement = place(resources(max_concurrent_trials=4), LAPTOP)
    assert placement.concurrency == 2
    assert any("4 trials at once were asked for; 2 fit" in line for line in placement.lines)
