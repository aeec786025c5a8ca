"""Say how a sweep went, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.next_steps import command_on, next_steps
from chemprop_hpo.hpo.commands.opening import existing_study
from chemprop_hpo.hpo.commands.trial_tables import best_table, best_title, counts_with_reasons

if TYPE_CHECKING:
    from chemprop_hpo.hpo.commands.opening import OpenStudy
    from chemprop_hpo.hpo.drive import SweepResult

__all__ = ["report_outcome"]

SHOWN = 5


def report_outcome(result: SweepResult, storage_url: str) -> None:
    """Print the best trials, what became of the others and the next commands.

    Parameters
    ----------
    result : SweepResult
        What the sweep returned.
    storage_url : str
        The study's database, with its password.

    Raises
    ------
    typer.Exit
        With 128 + the signal, where a signal ended the sweep.
    """
    config, url = _show(result, storage_url)
    if result.signal is not None:
        _say_interrupted(result, url)
        raise typer.Exit(128 + result.signal)
    _say_ended(result, config, url)


def _show(result: SweepResult, storage_url: str) -> tuple[Mapping[str, Any], str]:
    """Print the best trials, and return the study's configuration and its database's URL."""
    from chemprop_hpo.configs.errors import StorageError
    from chemprop_hpo.storage.outages import is_outage

    try:
        with existing_study(result.study, storage_url) as opened:
            _show_best(opened)
            return opened.record.config, opened.url
    except Exception as error:  # the sweep has ended well; only the look at it fails
        if not (isinstance(error, StorageError) or is_outage(error)):
            raise
    note(f"{result.storage} is away just now; the best trials are shown by the commands below")
    return {}, result.storage


def _show_best(opened: OpenStudy) -> None:
    from chemprop_hpo.storage.trials import best_trials, counts, epochs_trained, trial_records

    complete = counts(opened.study)["COMPLETE"]
    if complete:
        say(best_title(opened.record))
        say(best_table(best_trials(opened.study, min(SHOWN, complete)), opened.record))
    tally = counts_with_reasons(trial_records(opened.study))
    say(f"study {opened.name}: {tally}; {epochs_trained(opened.study)} epochs trained")


def _say_interrupted(result: SweepResult, url: str) -> None:
    note(
        "interrupted: finished trials and the last checkpoint of each running trial are kept; "
        "resume with:"
    )
    note(f"  {command_on('resume', result.study, url)}")


def _say_ended(result: SweepResult, config: Mapping[str, Any], url: str) -> None:
    if result.reason == "time_budget":
        say("the time budget is spent; what was finished is kept")
    for line in next_steps(result.study, url, config.get("num_samples", 100)):
        say(line)
