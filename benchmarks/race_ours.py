"""Our sides of the race: sweeps, ensembles, and the bare loop that is their floor."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from race_results import Figures
from race_track import (
    BIN,
    HERE,
    STUDY,
    LeftOutError,
    Run,
    Track,
    best,
    curve,
    errors,
    left_by,
    records,
    settings,
    size_mb,
)

from chemprop_hpo.configs.errors import StorageError, UnknownStudyError
from chemprop_hpo.configs.load import load_sweep
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.member_records import MemberRecord, read_members
from chemprop_hpo.storage.studies import open_study

__all__ = ["ensembles", "floor", "ours", "whole"]

ENDED = ("COMPLETE", "PRUNED")


def ours(track: Track) -> Run:
    scheduler = {"type": "asha", "grace_period": 3, "reduction_factor": 3}
    return _sweep("ours", track, scheduler)


def whole(track: Track) -> Run:
    return _sweep("whole", track, {"type": "none"})


def _sweep(side: str, track: Track, scheduler: Mapping[str, Any]) -> Run:
    file = track.sweep(side)
    file.write_text(yaml.safe_dump(settings(track, track.folder(side), scheduler)))
    return Run(
        [str(BIN / "chemprop-hpo"), "sweep", str(file), "--log-level", "warning"],
        track.setting.trials,
        lambda: sum(record.state in ENDED for record in records(file)),
        lambda began: _swept(file, began, track),
    )


def _swept(file: Path, began: float, track: Track) -> Figures:
    study = file.parent / "study"
    last = [record for record in records(file) if record.continued_by is None]
    finished = [record for record in last if record.state in ENDED]
    whole = [record for record in finished if record.state == "COMPLETE"]
    test = validation = None
    if whole:
        model = study / str(best(file, 1)[0].checkpoint) / "best.pt"
        validation, test = errors(model, track)
    return Figures(
        finished=len(finished),
        failed=sum(record.state == "FAIL" for record in last),
        epochs=sum(record.epochs for record in last),
        curve=curve((record.ended.timestamp(), record.value) for record in whole if record.ended),
        validation_rmse=validation,
        test_rmse=test,
        early_test_rmse=test if file == track.sweep("ours") else None,
        depth=statistics.mean(record.params["depth"] for record in finished) if finished else None,
        kept_mb=size_mb(study, file.parent / "studies.db"),
        weights=len(list((study / "trials").rglob("best.pt"))),
    ).since(began)


def floor(track: Track) -> Run:
    left = left_by("whole", track)
    written = track.folder("floor") / "floor.json"
    command = [sys.executable, str(HERE / "floor.py"), str(left), "--out", str(written)]

    def read(began: float) -> Figures:
        trained = json.loads(written.read_text()) if written.exists() else []
        return Figures(
            finished=len(trained),
            epochs=sum(one["epochs"] for one in trained),
            curve=curve((one["at"], one["rmse"]) for one in trained),
            validation_rmse=min((one["rmse"] for one in trained), default=None),
            depth=statistics.mean(one["depth"] for one in trained) if trained else None,
        ).since(began)

    asked = sum(record.state == "COMPLETE" for record in records(left))
    if not asked:
        raise LeftOutError(
            f"{left.parent}: no trial went to its end; remove its JSON file to repeat it"
        )
    return Run(
        [*command, "--at-once", str(track.setting.cpus)],
        asked,
        lambda: asked if written.exists() else 0,
        read,
    )


def ensembles(track: Track) -> Run:
    file, (top, splits, folds) = left_by("ours", track), track.setting.members
    if _members(file) and not track.measured("ensembles"):
        raise LeftOutError(
            f"{file.parent}: has trained members before, and would train only what is missing; "
            f"remove ours-{track.repeat}.json beside it, to run `ours` once more"
        )
    folder = track.folder("ensembles")
    command = [str(BIN / "chemprop-hpo"), "ensembles", "--study", STUDY, "--top-k", str(top)]
    command += ["--storage", load_sweep(file).config.study.storage, "-o", str(folder / "made")]
    command += ["--splits", _numbers(splits), "--folds", _numbers(folds)]
    asked = top * splits * folds

    def read(_: float) -> Figures:
        members = _members(file)
        states = [member.state for member in members]
        return Figures(
            finished=states.count("complete"),
            failed=states.count("failed"),
            epochs=sum(member.epoch for member in members),
            test_rmse=_combined(folder / "made" / "figures.csv"),
            kept_mb=size_mb(folder),
            weights=len(list(folder.rglob("*.pt"))),
        )

    def count() -> int:
        return sum(member.state == "complete" for member in _members(file))

    return Run([*command, "--log-level", "warning"], asked, count, read)


def _numbers(count: int) -> str:
    return ",".join(map(str, range(count)))


def _members(file: Path) -> list[MemberRecord]:
    try:
        with open_database(load_sweep(file).config.study.storage, create=False) as db:
            return read_members(db, open_study(db, STUDY))
    except (StorageError, UnknownStudyError) as problem:
        raise LeftOutError(str(problem)) from problem


def _combined(file: Path) -> float | None:
    if not file.exists():
        return None
    table = pd.read_csv(file)
    rows = table[(table.part == "test") & (table.figure == "rmse") & (table.units == "original")]
    return float(rows.value.iloc[-1]) if len(rows) else None
