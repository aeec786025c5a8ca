"""Read SMILES into molecules, and keep count of those that RDKit cannot read."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit import Chem
from rdkit.Chem import Mol
from rdkit.rdBase import BlockLogs


def read_molecules(smiles: Iterable[str]) -> list[Mol | None]:
    """Parse each SMILES once, as Chemprop does; None where it is empty or RDKit cannot read it."""
    with BlockLogs():  # RDKit would print several lines for each; the caller names them all
        return [_read_molecule(text) for text in smiles]


def canonical_smiles(molecule: Mol) -> str:
    """Return RDKit's canonical SMILES: two rows with the same one are the same molecule."""
    return str(Chem.MolToSmiles(molecule))


def _read_molecule(text: str) -> Mol | None:
    molecule = Chem.MolFromSmiles(text)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None
