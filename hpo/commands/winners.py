"""Write a study's best trials as a table, JSON or CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from chemprop_hpo.hpo.commands.trial_tables import best_table, best_title, params_text

if TYPE_CHECKING:
    from chemprop_hpo.hpo.commands.opening import OpenStudy
    from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["table_parts", "winners_csv", "winners_json"]


def table_parts(opened: OpenStudy, best: Sequence[TrialRecord]) -> list[RenderableType]:
    """Return what a person reads: a line, a table of results and the parameters."""
    head = f"study {opened.name} in {opened.database.masked_url}"
    params = [f"{rank:>4}  {params_text(t.params)}" for rank, t in enumerate(best, start=1)]
    table = best_table(best, opened.record)
    return [head, best_title(opened.record), table, "parameters", *params]


def winners_json(opened: OpenStudy, best: Sequence[TrialRecord]) -> str:
    """Return one object: the study, its metric and a list of full records, best first."""
    document = {
        "study": opened.name,
        "storage": opened.database.masked_url,
        "metric": opened.record.metric,
        "mode": opened.record.mode,
        "trials": [_record(rank, trial) for rank, trial in enumerate(best, start=1)],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def winners_csv(best: Sequence[TrialRecord]) -> str:
    """Return a line a trial; parameters and metrics are columns ``params.*``, ``metrics.*``."""
    rows = [_flat(_record(rank, trial)) for rank, trial in enumerate(best, start=1)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, _grouped(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _record(rank: int, trial: TrialRecord) -> dict[str, Any]:
    fields = {f.name: _plain(getattr(trial, f.name)) for f in dataclasses.fields(trial)}
    return {"rank": rank, **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            flat[name] = value
    return flat


def _grouped(columns: Sequence[str]) -> list[str]:
    """Keep plain columns first; branches leave different parameters to different rows."""
    return sorted(columns, key=lambda name: "." in name)
