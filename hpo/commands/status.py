"""``status``: where a study stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chemprop_hpo.hpo.commands.console import say
from chemprop_hpo.hpo.commands.lineage_lines import (
    ago,
    chain_lines,
    change_lines,
    driver_lines,
    orphan_lines,
    waiting_lines,
)
from chemprop_hpo.hpo.commands.member_lines import ensemble_lines, member_lines
from chemprop_hpo.hpo.commands.next_steps import command_on
from chemprop_hpo.hpo.commands.opening import OpenStudy, existing_study
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl, StudyName
from chemprop_hpo.hpo.commands.trial_tables import (
    counts_with_reasons,
    direction_words,
    head_words,
    number,
)
from chemprop_hpo.hpo.progress.wording import STATE_WORDS

if TYPE_CHECKING:
    from chemprop_hpo.storage.trials import TrialRecord

HELP = """\
Show where a study stands: its trials, its best value, who works on it, how to resume it,
and the ensembles that were made of it.

A driver is a process of `sweep` or `resume`. One that has not beaten for a minute, or whose
process is gone from this machine, is dead; its trials are orphans, which `resume` takes up.
A chain such as `3 -> 9` says that trial 9 goes on with what trial 3 had begun.

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
    return [
        ("study", f"{opened.name} in {opened.database.masked_url}"),
        ("metric", f"{opened.record.metric} ({direction_words(opened.record.mode)})"),
        ("trials", _trials(records, opened.record.config)),
        ("epochs", f"{epochs_trained(opened.study)} trained"),
        ("best", _best(opened)),
        *_who_does_what(opened),
        *_ensembles(opened),
        *(("changed", line) for line in change_lines(opened.study.user_attrs.get("changes", []))),
        ("activity", _last_activity(opened)),
        ("resume", command_on("resume", opened.name, opened.url)),
    ]


def _who_does_what(opened: OpenStudy) -> Iterator[tuple[str, str]]:
    from chemprop_hpo.storage.lineage import continuation_rows, driver_states
    from chemprop_hpo.storage.ownership import orphans

    where = (opened.database, opened.study)
    lost, rows = orphans(*where), continuation_rows(*where)
    trials = opened.study.get_trials(deepcopy=False)
    drivers = driver_states(*where)
    yield from (("running", line) for line in _running(opened, {t.number for t in lost}))
    yield from (("orphan", line) for line in orphan_lines(lost))
    yield from (("waiting", line) for line in waiting_lines(trials, rows))
    yield from (("driver", line) for line in driver_lines(drivers, opened.database.now()))
    yield from (("chain", line) for line in chain_lines(rows))


def _ensembles(opened: OpenStudy) -> Iterator[tuple[str, str]]:
    from chemprop_hpo.storage.ensembles import list_ensembles
    from chemprop_hpo.storage.members import read_members

    where = (opened.database, opened.study)
    yield from (("members", line) for line in member_lines(read_members(*where)))
    made = ensemble_lines(list_ensembles(*where), opened.database.now())
    yield from (("ensemble", line) for line in made)


def _trials(records: Sequence[TrialRecord], config: Mapping[str, Any]) -> str:
    done = sum(r.state in STATE_WORDS and r.continued_by is None for r in records)
    return f"{done} of {config.get('num_samples', '?')} done: {counts_with_reasons(records)}"


def _best(opened: OpenStudy) -> str:
    from chemprop_hpo.storage.trials import best_trials, counts

    if not counts(opened.study)["COMPLETE"]:
        return "no complete trial yet"
    best = best_trials(opened.study, 1)[0]
    where = ", ".join(filter(None, [head_words(best.head), f"epoch {best.best_epoch}"]))
    return f"{opened.record.metric} {number(best.value)} in trial {best.number} ({where})"


def _running(opened: OpenStudy, lost: Collection[int]) -> list[str]:
    longest = (opened.record.config.get("scheduler") or {}).get("max_t", "?")
    trials = [t for t in opened.study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    return [f"trial {t.number}: {_stand(t, longest)}" for t in trials if t.number not in lost]


def _stand(trial: Any, longest: object) -> str:
    if trial.last_step is None:
        return "no epoch yet"
    # What is stored at each epoch is the running best.
    best = trial.intermediate_values[trial.last_step]
    return f"epoch {trial.last_step} of {longest}, best {number(best)}"


def _last_activity(opened: OpenStudy) -> str:
    from chemprop_hpo.storage.studies import list_studies

    moment = next(s.last_active for s in list_studies(opened.database) if s.name == opened.name)
    return "none yet" if moment is None else ago(opened.database.now() - moment.timestamp())
