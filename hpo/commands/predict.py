"""``predict``: molecules of a file, predicted by an ensemble."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chemprop_hpo.hpo.commands.console import note, say
from chemprop_hpo.hpo.commands.options import Debug

if TYPE_CHECKING:
    from chemprop_hpo.hpo.predictor import Ensemble
    from chemprop_hpo.hpo.predictor.streaming import Counts

HELP = """\
Predict the molecules of a CSV file with an ensemble.

The output has the rows and columns of the input, in their order, and for each target its
mean, the standard deviation over the models, and intervals that hold 80, 90 and 95 % of
molecules like the training set's. `similarity` is the Tanimoto similarity to the nearest
training molecule, and `far` marks where it is so low that intervals promise nothing. A row
that cannot be predicted has `valid` False and the reason in `error`.

A file may be of any length: only a thousand rows are in memory at once.

\b
Examples:
  chemprop-hpo predict --ensemble ensembles/combined new.csv -o predicted.csv
  chemprop-hpo predict --ensemble ensembles/rank_1 new.csv -o predicted.csv --force
  chemprop-hpo predict --ensemble ensembles new.csv -o out.csv --smiles-col canonical
"""


class Device(StrEnum):
    """What the models run on."""

    CPU = "cpu"
    CUDA = "cuda"


EnsembleFolder = Annotated[
    Path,
    typer.Option(
        "--ensemble", metavar="DIR", help="A predictor; of several, the one in DIR/combined."
    ),
]
Input = Annotated[Path, typer.Argument(metavar="INPUT", help="A CSV file with SMILES.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Write there.")]
SmilesCol = Annotated[
    str | None,
    typer.Option(
        "--smiles-col", metavar="NAME", help="Column of the SMILES; by default the training data's."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an output that exists.", show_default=False)
]
On = Annotated[Device, typer.Option("--device", case_sensitive=False)]


def predict(
    input_file: Input,
    ensemble: EnsembleFolder,
    output: Output,
    smiles_col: SmilesCol = None,
    force: Force = False,
    device: On = Device.CPU,
    debug: Debug = False,
) -> None:
    """Predict a file, and say how much of it could be."""
    from chemprop_hpo.hpo.commands.pace import shown_pace
    from chemprop_hpo.hpo.predictor import load_ensemble
    from chemprop_hpo.hpo.predictor.streaming import predict_file, require_output
    from chemprop_hpo.hpo.predictor.tables import require_input

    require_input(input_file)
    require_output(output, input_file, force=force)
    models = load_ensemble(ensemble, device.value)
    note(_opening(models))
    with shown_pace() as on_progress:
        counts = predict_file(
            models,
            input_file,
            output,
            smiles_col=smiles_col,
            force=force,
            on_progress=on_progress,
        )
    say(_summary(counts, output, models))


def _opening(models: Ensemble) -> str:
    from chemprop_hpo.hpo.chemistry.tables.problems import counted

    targets = ", ".join(target.name for target in models.manifest.targets)
    predict = "predicts" if len(models) == 1 else "predict"
    return f"{counted(len(models), 'model')} of study {models.manifest.study} {predict} {targets}"


def _summary(counts: Counts, output: Path, models: Ensemble) -> str:
    from chemprop_hpo.hpo.chemistry.tables.problems import counted

    line = f"{counted(counts.rows, 'row')} written to {output}: {counts.unreadable:,} without a "
    line += "prediction" + (" (column error says why)" if counts.unreadable else "")
    far = f"{counts.far:,} far from the training molecules"
    return f"{line}, {far} (similarity below {models.manifest.far_below:g})"
