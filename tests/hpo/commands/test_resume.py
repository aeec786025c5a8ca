"""``resume``: what reaches the sweep."""

from __future__ import annotations

from typing import Any

from tests.hpo.commands.shell import Shell


def test_it_passes_on_what_was_given(sweeps: Any, study: str, shell: Shell) -> None:
    arguments = ["--study", "esol", "--num-samples", "20", "resources.cpus_per_trial=2"]
    assert shell("resume", *arguments) == 0
    call = sweeps.calls[0]
    assert (call["name"], call["url"]) == ("esol", "sqlite:///studies.db")
    assert call["num_samples"] == 20
    assert call["overrides"] == ["resources.cpus_per_trial=2"]


def test_without_a_name_it_takes_the_most_recent_and_says_so(
    sweeps: Any, study: str, shell: Shell
) -> None:
    assert shell("resume") == 0
    assert sweeps.calls[0]["name"] == "esol"
    assert "most recent study: esol" in shell.err
