"""Read the SMILES that a person gives, and say of each bad one what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rdkit import Chem
from rdkit.Chem import Mol
from rdkit.rdBase import BlockLogs

__all__ = ["ReadMolecule", "read_smiles"]

EMPTY = "there is no SMILES"


@dataclass(frozen=True, eq=False)
class ReadMolecule:
    """A molecule, or the reason why there is none."""

    molecule: Mol | None
    error: str = ""


def read_smiles(smiles: Sequence[object]) -> list[ReadMolecule]:
    """Read each SMILES as training data are read; nothing raises.

    Parameters
    ----------
    smiles : sequence
        Anything but text is an error of its own row; None, NaN and NA are missing.
    """
    with BlockLogs():  # RDKit would print several lines for each
        return [_read(text) for text in smiles]


def _read(text: object) -> ReadMolecule:
    if not isinstance(text, str):
        # NaN and its like are what pandas reads from an empty cell; of a list isna gives a list.
        missing = pd.isna(text) is True  # type: ignore[call-overload]  # any object may be asked
        return ReadMolecule(
            None, EMPTY if missing else f"a SMILES is text, not {type(text).__name__}"
        )
    text = text.strip()
    if not text:
        return ReadMolecule(None, EMPTY)
    # RDKit reads up to the first blank, and takes the rest for a name.
    if "\n" in text or "\r" in text:
        return ReadMolecule(None, "the cell holds a line break; is a quote missing?")
    return _parse(text)


def _parse(text: str) -> ReadMolecule:
    try:
        molecule = _mol(text)
    except (UnicodeError, ValueError, RuntimeError) as error:
        return ReadMolecule(None, f"RDKit cannot read this SMILES ({' '.join(str(error).split())})")
    if molecule is None:
        return ReadMolecule(None, _reason(text))
    if not molecule.GetNumAtoms():
        return ReadMolecule(None, "the molecule has no atoms")
    return ReadMolecule(molecule)


def _reason(text: str) -> str:
    molecule = _mol(text, sanitize=False)
    if molecule is None:
        return "not a valid SMILES"
    problems = [problem.Message() for problem in Chem.DetectChemistryProblems(molecule)]
    return f"not a possible molecule ({problems[0].strip()})" if problems else "not a valid SMILES"


def _mol(text: str, *, sanitize: bool = True) -> Mol | None:
    return Chem.MolFromSmiles(text, sanitize=sanitize)
