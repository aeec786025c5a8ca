"""``top-k``: the best configurations of a study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.commands.console import note, plain_text, say, write
from chemprop_hpo.hpo.commands.opening import existing_study
from chemprop_hpo.hpo.commands.options import DEFAULT_STORAGE, Debug, StorageUrl, StudyName
from chemprop_hpo.hpo.commands.winners import table_parts, winners_csv, winners_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chemprop_hpo.hpo.commands.opening import OpenStudy
    from chemprop_hpo.storage.trials import TrialRecord

HELP = """\
Show the best configurations of a study.

Only trials that were trained to their end are ranked. With `--format yaml` a file is written
that `sweep` takes as it is. For `-k 1` it holds the best values under `model` and
`optimization` and no search space, so that it stands for one training. For more it lists the
k configurations under `enqueue`, so that `sweep` trains exactly these, each to its end. Its
study has a name of its own: NAME-top1, NAME-top3.

\b
Examples:
  chemprop-hpo top-k
  chemprop-hpo top-k -k 5 --study esol --distinct
  chemprop-hpo top-k --format csv -o best.csv
  chemprop-hpo top-k -k 1 --format yaml -o best.yaml
  chemprop-hpo sweep best.yaml
"""


class Format(StrEnum):
    """How the configurations are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


Count = Annotated[int, typer.Option("-k", "--top", min=1, help="How many configurations.")]
Distinct = Annotated[
    bool, typer.Option("--distinct", help="Rank equal configurations once, by the best of them.")
]
Form = Annotated[Format, typer.Option("--format", case_sensitive=False)]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write there, not to stdout.")
]


def top_k(
    k: Count = 3,
    study: StudyName = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    distinct: Distinct = False,
    form: Form = Format.TABLE,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Rank the trials, and write the best of them."""
    from chemprop_hpo.storage.trials import best_trials

    with existing_study(study, storage) as opened:
        best = best_trials(opened.study, k, distinct=distinct)
        if form is Format.TABLE and output is None:
            for part in table_parts(opened, best):
                say(part)
        else:
            _deliver(_document(form, opened, best), output)


def _document(form: Format, opened: OpenStudy, best: Sequence[TrialRecord]) -> str:
    if form is Format.YAML:
        from chemprop_hpo.hpo.tracking.best_configs import winners_yaml

        return winners_yaml(opened.name, opened.record, best)
    if form is Format.JSON:
        return winners_json(opened, best)
    if form is Format.CSV:
        return winners_csv(best)
    return plain_text(*table_parts(opened, best))


def _deliver(text: str, output: Path | None) -> None:
    if output is None:
        write(text)
        return
    try:
        output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error
    note(f"written to {output}")
