"""``status``: where a study stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chemprop_hpo.hpo.commands.console import say
from chemprop_hpo.hpo.commands.next_steps import command_on
from chemprop_hpo.hpo.commands.opening import OpenStudy, existing_study
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl, StudyName
from chemprop_hpo.hpo.commands.trial_tables import (
    counts_with_reasons,
    direction_words,
    head_words,
    number,
)
from chemprop_hpo.hpo.progress.wording import FREE_REASONS, STATE_WORDS, duration

if TYPE_CHECKING:
    from chemprop_hpo.storage.trials import TrialRecord

HELP = """\
Show where a study stands: its trials, its best value, who works on it, how to resume it.

\b
Examples:
  chemprop-hpo status
  chemprop-hpo status --study esol --storage sqlite:///lab.db
"""


def status(
    study: StudyName = None, storage: StorageUrl = DEFAULT_STORAGE, debug: Debug = False
) -> None:
    """Print a line for each thing that is worth knowing."""
    with existing_study(study, storage) as opened:
        lines = _lines(opened)
    for title, text in lines:
        say(f"{title:<9} {text}")


def _lines(opened: OpenStudy) -> list[tuple[str, str]]:
    from chemprop_hpo.storage.trials import epochs_trained, trial_records

    records = trial_records(opened.study)
    place = opened.database.masked_url
    return [
        ("study", f"{opened.name} in {place}"),
        ("metric", f"{opened.record.metric} ({direction_words(opened.record.mode)})"),
        ("trials", _trials(records, opened.record.config)),
        ("epochs", f"{epochs_trained(opened.study)} trained"),
        ("best", _best(opened)),
        *(("running", line) for line in _running(opened)),
        *(("driver", line) for line in _drivers(opened)),
        ("activity", _last_activity(opened)),
        ("resume", command_on("resume", opened.name, place)),
    ]


def _trials(records: Sequence[TrialRecord], config: Mapping[str, Any]) -> str:
    done = sum(r.state in STATE_WORDS and r.stop_reason not in FREE_REASONS for r in records)
    return f"{done} of {config.get('num_samples', '?')} done: {counts_with_reasons(records)}"


def _best(opened: OpenStudy) -> str:
    from chemprop_hpo.storage.trials import best_trials, counts

    if not counts(opened.study)["COMPLETE"]:
        return "no complete trial yet"
    best = best_trials(opened.study, 1)[0]
    where = ", ".join(filter(None, [head_words(best.head), f"epoch {best.best_epoch}"]))
    return f"{opened.record.metric} {number(best.value)} in trial {best.number} ({where})"


def _running(opened: OpenStudy) -> list[str]:
    longest = (opened.record.config.get("scheduler") or {}).get("max_t", "?")
    trials = [t for t in opened.study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    return [f"trial {t.number}: {_stand(t, longest)}" for t in trials]


def _stand(trial: Any, longest: object) -> str:
    if trial.last_step is None:
        return "no epoch yet"
    # What is stored at each epoch is the running best.
    best = trial.intermediate_values[trial.last_step]
    return f"epoch {trial.last_step} of {longest}, best {number(best)}"


def _drivers(opened: OpenStudy) -> list[str]:
    from chemprop_hpo.storage.drivers import live_drivers

    now = opened.database.now()
    alive = live_drivers(opened.database, opened.study)
    lines = [f"process {d.pid} on {d.host}, {_ago(now - d.beat_at)}" for d in alive]
    return lines or ["none at work"]


def _last_activity(opened: OpenStudy) -> str:
    from chemprop_hpo.storage.studies import list_studies

    moment = next(s.last_active for s in list_studies(opened.database) if s.name == opened.name)
    return "none yet" if moment is None else _ago(opened.database.now() - moment.timestamp())


def _ago(seconds: float) -> str:
    return f"{duration(max(seconds, 0.0))} ago"
