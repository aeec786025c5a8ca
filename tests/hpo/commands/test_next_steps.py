"""Commands that are printed to be copied."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chemprop_hpo.hpo.commands.next_steps import command_on, next_steps
from chemprop_hpo.hpo.commands.opening import OpenStudy

MASKED = "postgresql://me:***@host/db"
REFERENCE = "postgresql://me:${oc.env:PGPASSWORD}@host/db"


def opened(written: str, masked: str = MASKED) -> Any:
    record = SimpleNamespace(config={"study": {"storage": written}})
    database: Any = SimpleNamespace(masked_url=masked)
    return OpenStudy("esol", database, None, record)  # type: ignore[arg-type]  # stand-ins


def test_a_password_that_was_a_variable_is_printed_as_one() -> None:
    assert opened(REFERENCE).url == REFERENCE
    assert command_on("resume", "esol", REFERENCE) == (
        f"chemprop-hpo resume --study esol --storage '{REFERENCE}'"
    )


@pytest.mark.parametrize("written", [MASKED, REFERENCE.replace("host", "older-host"), ""])
def test_otherwise_the_url_is_printed_as_it_was_given_and_masked(written: str) -> None:
    assert opened(written).url == MASKED


def test_the_database_of_the_environment_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEMPROP_HPO_STORAGE", "postgresql://me:hunter2@host/db")
    for url in (MASKED, REFERENCE):
        assert command_on("status", "my study", url) == "chemprop-hpo status --study 'my study'"


@pytest.mark.parametrize(("num_samples", "top_k"), [(2, "2"), (100, "3")])
def test_no_more_ensembles_are_proposed_than_there_are_trials(num_samples: int, top_k: str) -> None:
    lines = next_steps("esol", "sqlite:///lab.db", num_samples)
    (line,) = [line for line in lines if " ensembles " in line]
    assert line.split()[-2:] == ["--top-k", top_k]
