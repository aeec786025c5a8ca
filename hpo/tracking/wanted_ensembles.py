"""What the database says of finished ensembles, as runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo.tracking.runs import flat
from chemprop_hpo.hpo.tracking.wanted import WantedRun, finite, milliseconds
from chemprop_hpo.hpo.tracking.wanted_members import mark_of
from chemprop_hpo.storage.ensembles import EnsembleRecord
from chemprop_hpo.storage.member_records import MemberKey, MemberRecord
from chemprop_hpo.storage.trials import TrialRecord

__all__ = [
    "ensemble_mark",
    "ensemble_name",
    "ensemble_params",
    "place_tags",
    "wanted_ensembles",
]

_PARTS = {"out_of_fold": "val", "test": "test"}
_TOGETHER = "combined"
_MADE_WITH = ("git", "data", "dataset", "test_set")
_ARTIFACTS = ("report.html", "figures.csv", "records.json", "plots/*.png", "[!.]*/manifest.json")


def wanted_ensembles(
    study: str,
    records: Sequence[EnsembleRecord],
    members: Sequence[MemberRecord],
    trials: Iterable[TrialRecord],
) -> list[WantedRun]:
    """Return a run for each ensemble that was made, the oldest first.

    What was made twice out of the same models into the same folder is one run, with the figures
    of the last time.

    Parameters
    ----------
    study : str
        Its name.
    records : sequence of EnsembleRecord
        The oldest first.
    members : sequence of MemberRecord
        All of the study.
    trials : iterable of TrialRecord
    """
    by_number = {trial.number: trial for trial in trials}
    found: dict[str, WantedRun] = {}
    for record in records:
        run = _wanted(study, record, members, by_number)
        found[run.mark] = run
    return list(found.values())


def ensemble_mark(folder: str, members: Iterable[str]) -> str:
    """Return what tells an ensemble from all others of the study."""
    text = "\n".join([folder, *sorted(members)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def ensemble_params(ranks: Mapping[int, int], trials: Mapping[int, TrialRecord]) -> dict[str, Any]:
    """Return the configuration of each rank as parameters, ``rank_1.depth``.

    Parameters
    ----------
    ranks : mapping of int to int
        The trial of each rank.
    trials : mapping of int to TrialRecord
    """
    found: dict[str, Any] = {}
    for rank, number in sorted(ranks.items()):
        trial = trials.get(number)
        own = {"trial": number, **(trial.params if trial else {})}
        found |= {f"rank_{rank}.{name}": value for name, value in own.items()}
    return found


def place_tags(folder: str, ranks: Mapping[int, int]) -> dict[str, Any]:
    """Return the tags that an ensemble's run has from its beginning, without our prefix."""
    return {
        "folder": folder,
        "ranks": {str(rank): trial for rank, trial in sorted(ranks.items())},
        "trials": sorted(ranks.values()),
    }


def ensemble_name(ranks: Mapping[int, int]) -> str:
    """Return what an ensemble's run is called."""
    return f"ensembles of {', '.join(f'trial {ranks[rank]}' for rank in sorted(ranks))}"


def _wanted(
    study: str,
    record: EnsembleRecord,
    members: Sequence[MemberRecord],
    trials: Mapping[int, TrialRecord],
) -> WantedRun:
    said = record.record
    ranks = {int(rank): int(trial) for rank, trial in said.get("trials", {}).items()}
    marks = _members(said, ranks, members)
    at = milliseconds(record.created)
    mark = ensemble_mark(record.folder, marks)
    figures = finite(said.get("metrics") or dict(_figures(said.get("figures", {}))))
    return WantedRun(
        name=ensemble_name(ranks),
        kind="ensemble",
        mark=mark,
        params=ensemble_params(ranks, trials),
        tags={"study": study, "state": "complete", **_tags(record, ranks)},
        status="FINISHED",
        started=at,
        ended=at,
        figures=figures,
        files=_files(Path(record.folder)),
        members=marks,
        parts=tuple(
            _rank(study, rank, trials.get(number), number, figures, mark, at)
            for rank, number in sorted(ranks.items())
        ),
    )


def _rank(
    study: str,
    rank: int,
    trial: TrialRecord | None,
    number: int,
    figures: Mapping[str, float],
    mark: str,
    at: int | None,
) -> WantedRun:
    """Return the run of one configuration's ensemble, its figures under their plain names."""
    own = f"rank_{rank}/"
    return WantedRun(
        name=f"rank {rank}: trial {number}",
        kind="rank",
        mark=f"{mark}/{rank}",
        params=dict(trial.params) if trial else {},
        tags={"study": study, "of_trial": number, "head": trial.head if trial else None},
        status="FINISHED",
        started=at,
        ended=at,
        figures={n.removeprefix(own): x for n, x in figures.items() if n.startswith(own)},
    )


def _members(
    said: Mapping[str, Any], ranks: Mapping[int, int], members: Sequence[MemberRecord]
) -> tuple[str, ...]:
    if "keys" in said:
        return tuple(mark_of(MemberKey(*key)) for key in said["keys"])
    # Written by an older version: all that was trained of these trials.
    return tuple(mark_of(member.key) for member in members if member.key.trial in ranks.values())


def _tags(record: EnsembleRecord, ranks: Mapping[int, int]) -> dict[str, Any]:
    said = record.record
    return {
        **place_tags(record.folder, ranks),
        "members": said.get("members"),
        "failed": said.get("failed"),
        **{f"used.{target}": used for target, used in said.get("used", {}).items()},
        **flat({name: said[name] for name in _MADE_WITH if name in said}),
    }


def _figures(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[Any]:
    """Yield names and values of what an older record holds; all of several targets apart."""
    for ensemble, of_parts in figures.items():
        prefix = "" if ensemble == _TOGETHER else f"{ensemble.replace(' ', '_')}/"
        targets = {place.rpartition("/")[0] for place in of_parts}
        for place, found in of_parts.items():
            target, _, part = place.rpartition("/")
            suffix = "" if len(targets) == 1 else f"/{target}"
            for figure, value in found.items():
                yield f"{prefix}{_PARTS[part]}_{figure}{suffix}", value


def _files(folder: Path) -> dict[str, Path]:
    """Return the files worth keeping: the report, its pictures, and what predictors are made of."""
    found = (path for pattern in _ARTIFACTS for path in sorted(folder.glob(pattern)))
    return {path.relative_to(folder).as_posix(): path for path in found if path.is_file()}
