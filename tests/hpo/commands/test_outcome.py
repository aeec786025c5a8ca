"""A sweep that ended well, and a database that is away when it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from chemprop_hpo.hpo.commands.outcome import report_outcome
from chemprop_hpo.hpo.drive import SweepResult


def test_a_finished_sweep_stays_finished_if_it_cannot_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/gone.db"
    report_outcome(SweepResult("esol", url, {}, None, None, "finished"), url)
    output = capsys.readouterr()
    assert "is away just now" in output.err
    assert "top-k" in output.out


def test_an_interrupted_sweep_ends_with_its_signal_if_it_cannot_be_shown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gone.db"
    with pytest.raises(typer.Exit) as left:
        report_outcome(SweepResult("esol", url, {}, None, 15, "interrupted"), url)
    assert left.value.exit_code == 143
